package flow

import (
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

// End is the end of a watched message.
type End struct {
	Tag     any // the tag passed to Watch
	Outcome Outcome
	Fault   *Fault // the worst fault; nil if the outcome is Acked, or if there was no fault
}

// Watcher is notified of the ends of the messages it watches (see Watch). Idempotent sinks, and
// operators that remember finished work, are built with it.
type Watcher struct {
	ended func(context.Context, []End) error
}

// NewWatcher makes a Watcher. ended receives the ends of messages, many at once, on one goroutine
// for each run of a graph. If it returns an error, it is called again after a backoff with the same
// ends and those that have arrived since, so it must be idempotent. Until it returns nil, the
// entries are not settled, and their credits are not free. At the end of a run ended has AckTimeout
// left; then its context is done. If it returns an error after that, the entries of these messages go
// back to their source: whatever was recorded of them, they are delivered again. A Permanent error
// has this effect at once, and also stops the graph. The slice is valid until ended returns.
func NewWatcher(ended func(ctx context.Context, ends []End) error) *Watcher { return &Watcher{ended} }

// Watched is a watched message. Its methods may be called by any goroutine, also after the end.
type Watched struct{ lease lease }

// Watch returns the message with a watch on its end. The Watched reports the progress of the work
// and can cancel it. When everything derived from the message from here on is done, and before its
// entry is settled as a result, w receives the end with the tag. Other messages of the entry, such
// as on another branch, do not count. ctx must be the handler's context. Outside a running graph w
// receives nothing.
func Watch[T any](ctx context.Context, m Message[T], w *Watcher, tag any) (Message[T], Watched) {
	st := stageOf(ctx)
	if st == nil {
		return m, Watched{}
	}
	s := newSlab(1, nil)
	s.watch = &watch{run: st.la.run, by: w, tag: tag, leaves: 1}
	st.la.run.lanes.leased.Store(true) // stages publish their work: see Watched.Cancel
	if !m.lease.none() && m.lease.share(1) {
		s.members = []lease{m.lease}
	}
	m.lease = lease{slab: s}
	st.made(m.lease)
	return m, Watched{m.lease}
}

// Follow makes the message end like a watched one. In addition to the messages that the handler
// derives from m, the watched message holds the entry of m: until it has ended and its watcher has
// been told. The entry also gets its outcome. Follow reports false, and does nothing, if the
// watched message has already ended.
func Follow[T any](m Message[T], of Watched) bool {
	if of.lease.none() {
		return false
	}
	s := of.lease.slab
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watch.passed {
		return false
	}
	if !m.lease.none() && m.lease.share(1) {
		s.watch.followers = append(s.watch.followers, m.lease)
	}
	return true
}

// watch is the additional state of a watched lease.
type watch struct {
	run *Running
	by  *Watcher
	tag any

	// Guarded by the slab's mu:
	followers []lease
	passed    bool      // the entries are released
	leaves    int32     // messages made of the watched one
	fault     *Fault    // the last one
	retry     time.Time // when the handler that failed last is called again; zero if it is not
	cause     error     // of a cancelled watch; written once, before the cell is marked as lost
}

// watchedEnd is the end of a watched lease that waits for its watcher.
type watchedEnd struct {
	lease lease
	end   ended // the end of its entries
	told  ended // the end for the watcher, including members that ended separately
}

// pass releases the entries behind a watched lease.
func (e *watchedEnd) pass(dirty *dirtySessions) {
	s := e.lease.slab
	s.mu.Lock()
	followers := s.watch.followers
	s.watch.followers, s.watch.passed = nil, true
	s.mu.Unlock()
	for _, of := range [][]lease{s.members, followers} {
		for _, l := range of {
			l.end(e.end, dirty)
		}
	}
}

// watches reports the ends of watched messages to their watchers.
//
// Idea: a lease is settled by a lane, which must not do I/O and may be about to end. So the end is
// queued. One goroutine for each watcher takes the queue, notifies the watcher, and releases the
// entries. It lives only while the queue has ends, so no goroutine is idle between bursts.
type watches struct {
	run    *Running
	mu     sync.Mutex // guards the fields below; never held during a call
	queues map[*Watcher]*watchQueue
	over   bool // watchers are no longer told
	ctx    context.Context
	cancel context.CancelFunc
	tells  run.Group
}

type watchQueue struct {
	waiting []watchedEnd
	running bool
}

// settled queues the end of a watched lease.
func (ws *watches) settled(e watchedEnd, dirty *dirtySessions) {
	ws.mu.Lock()
	if ws.over {
		ws.mu.Unlock()
		e.pass(dirty)
		return
	}
	if ws.queues == nil {
		ws.queues = make(map[*Watcher]*watchQueue)
		ws.ctx, ws.cancel = context.WithCancel(context.WithoutCancel(ws.run.hard))
	}
	by := e.lease.slab.watch.by
	q := ws.queues[by]
	if q == nil {
		q = &watchQueue{}
		ws.queues[by] = q
	}
	q.waiting = append(q.waiting, e)
	if !q.running {
		q.running = true
		ws.tells.Go(func() { ws.tell(by, q) })
	}
	ws.mu.Unlock()
}

// tell passes the queued ends to one watcher, until the queue is empty.
func (ws *watches) tell(by *Watcher, q *watchQueue) {
	var batch []watchedEnd
	var ends []End
	for tries := 0; ; {
		ws.mu.Lock()
		for _, e := range q.waiting {
			batch = append(batch, e)
			ends = append(ends, End{Tag: e.lease.slab.watch.tag, Outcome: e.told.outcome, Fault: e.told.fault})
		}
		clear(q.waiting)
		q.waiting = q.waiting[:0]
		q.running = len(batch) > 0
		ws.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		over, recorded := ws.told(by, ends, tries)
		if !over {
			tries++
			continue
		}
		tries = 0
		var n dirtySessions
		for i := range batch {
			if !recorded {
				batch[i].end = ended{outcome: Nacked}
			}
			batch[i].pass(&n)
		}
		n.tell()
		clear(batch)
		clear(ends)
		batch, ends = batch[:0], ends[:0]
	}
}

// told notifies a watcher. If that failed and must be retried, it waits, and over is false.
func (ws *watches) told(by *Watcher, ends []End, tries int) (over, recorded bool) {
	r, ctx := ws.run, ws.ctx
	err := contained(func() error { return by.ended(ctx, ends) }, func() {
		r.fail(&StageError{Graph: r.graph.name, Err: errGoexit})
	})
	switch {
	case err == nil:
		return true, true
	case IsPermanent(err):
		r.fail(&StageError{Graph: r.graph.name, Err: err})
		return true, false
	case ctx.Err() != nil:
		r.log.Warn("watcher gave up: these messages go back to their source", "messages", len(ends), "error", err)
		return true, false
	case tries == 0 || tries%10 == 9:
		r.log.Warn("watcher failed, will try again", "messages", len(ends), "tries", tries+1, "error", err)
	}
	passes(ctx, min(exponential(lookFirst*10, tries+1), time.Second))
	return false, false
}

// finish waits until the watchers have received all ends, for at most d. Then it cancels their
// context and waits for at most d again. After that, entries are released without notifying the
// watchers.
func (ws *watches) finish(d time.Duration) {
	ws.mu.Lock()
	ws.over = true
	begun := ws.queues != nil
	ws.mu.Unlock()
	if !begun {
		return
	}
	if !ws.tells.WaitFor(d) {
		ws.cancel()
		ws.tells.WaitFor(d)
	}
	ws.cancel()
}

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
