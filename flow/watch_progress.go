package flow

import (
	"slices"
	"time"
)

// Progress is how far the work on a watched message is.
type Progress struct {
	// Leaves is how many messages have been made of it so far, and Settled how many of them are
	// done. A stage that emits five messages for one adds four leaves. A message that is held, or
	// is joined with others, is not done yet. Both are exact unless another stage watches messages
	// of it as well (Dedupe does): these count as one.
	Leaves, Settled int
	// Stages are the names of the stages that work on messages of it now, in a handler or a Writer,
	// or wait to retry one. They are sorted.
	Stages []string
	// Fault is the last fault of a message of it, also if a retry has succeeded since. It is nil if
	// no message had a fault.
	Fault *Fault
	// Retry is when the stage of Fault tries again in place. It is zero if the fault was not left to
	// a retry, and may have passed.
	Retry time.Time
}

// Progress returns how far the work on the message is. Outside a running graph it is zero.
func (w Watched) Progress() Progress {
	if w.lease.none() {
		return Progress{}
	}
	s := w.lease.slab
	s.mu.Lock()
	live := max(s.shares(0)+1, 0)
	s.watch.leaves = max(s.watch.leaves, live) // holds may have emitted several messages
	p := Progress{Leaves: int(s.watch.leaves), Settled: int(s.watch.leaves - live), Fault: s.watch.fault,
		Retry: s.watch.retry}
	s.mu.Unlock()
	if live > 0 {
		p.Stages = s.watch.run.lanes.worksOn(s)
	}
	return p
}

// Cancel ends the work on the message. The contexts of the handlers that work on messages of it are
// cancelled with the cause, and no further handler receives one. The watched message ends as Dropped
// with a Fault that has the cause, unless everything made of it succeeds nevertheless. A message
// that waits for a retry in place, and one with a Ticket, ends after that. A join of several
// messages is cancelled when all of them are. A second Cancel, and one after the end, does nothing.
func (w Watched) Cancel(cause error) {
	if w.lease.none() {
		return
	}
	s := w.lease.slab
	s.mu.Lock()
	if s.watch.cause != nil || s.shares(0) <= settled {
		s.mu.Unlock()
		return
	}
	s.watch.cause = orUnspecified(cause)
	s.cells[0].worst.Or(lostBit)
	s.mu.Unlock()
	ls := &s.watch.run.lanes
	ls.lost.Store(true)
	ls.interrupt()
}

// cancelled returns the cause if the watch of a message was cancelled, and the lease, or a lease
// that it stands for, belongs to that message.
func (l lease) cancelled() error {
	if l.none() {
		return nil
	}
	if one, ok := l.member(); ok {
		return one.cancelled()
	}
	if w := l.slab.watch; w != nil && l.cell().lost() { // lost is set after the cause
		return w.cause
	}
	for _, member := range l.slab.members {
		if why := member.cancelled(); why != nil {
			return why
		}
	}
	return nil
}

// split adds n shares, for messages that a handler has made of one message.
func (l lease) split(n int32) {
	s := l.slab
	if s.watch == nil {
		l.share(n)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.share(n) {
		s.watch.leaves += n
	}
}

// uncount takes back one of the leaves that split counted: the message's own share, of a handler that
// had passed on others before it returned.
func (l lease) uncount() {
	s := l.slab
	if s.watch == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch.leaves--
}

// noteFault records a fault in the watches of the lease.
func (l lease) noteFault(f *Fault, d Decision) {
	if l.none() {
		return
	}
	if one, ok := l.member(); ok {
		one.noteFault(f, d)
		return
	}
	s := l.slab
	if s.watch != nil {
		s.mu.Lock()
		s.watch.fault, s.watch.retry = f, time.Time{}
		if d.Do == ActRetry {
			s.watch.retry = time.Now().Add(d.After)
		}
		s.mu.Unlock()
	}
	for _, member := range s.members {
		member.noteFault(f, d)
	}
}

// worksOn returns the sorted names of the stages that work on messages of a watched one.
func (ls *lanes) worksOn(of *slab) (names []string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, set := range []map[*lane]struct{}{ls.alive, ls.keys} {
		for la := range set {
			for _, s := range la.stages { // downstream first: those before it wait for it
				if s.current.on(of) {
					names = append(names, s.st.name)
					break
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// on reports whether the work in progress is on a message of a watched one.
func (w *currentWork) on(of *slab) bool {
	at := w.at.Load()
	if at == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.join.none() && w.join.cell() == at && w.join.includes(of)
}

// includes reports whether the lease is, or stands for, a share of a watched message.
func (l lease) includes(of *slab) bool {
	if l.none() {
		return false
	}
	if one, ok := l.member(); ok {
		return one.includes(of)
	}
	return l.slab == of || slices.ContainsFunc(l.slab.members, func(m lease) bool { return m.includes(of) })
}
