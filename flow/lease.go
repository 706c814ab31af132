package flow

import (
	"sync"
	"sync/atomic"
	"time"
)

// Outcome is how the work on an entry ended. They are ordered: of all the shares of an entry the worst outcome is the
// entry's.
type Outcome uint8

const (
	// Acked: done. The source acknowledges the entry.
	Acked Outcome = iota
	// Dropped: given up on purpose (Skip, Drop). The source acknowledges the entry and counts it apart.
	Dropped
	// Dead: given up as hopeless. The source moves the entry to its dead letters.
	Dead
	// Nacked: not done. The source delivers the entry again, to whoever reads next, after the delay asked for.
	Nacked
	// Failed: not done, and the graph stops because of it. The source treats the entry as Nacked.
	Failed
)

// String returns the outcome's name in lower case.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

var outcomeNames = [...]string{"acked", "dropped", "dead", "nacked", "failed"}

// Idea: one lease for each entry read, in a slab for each chunk read. A lease counts its shares: one for each message
// that still descends from the entry, wherever it is, and one for each hold. The holder of a share releases it with an
// outcome. When the last share is released the lease is settled, once, with the worst outcome; the source's committer
// finds it by scanning its few slabs. So the price of an ack is one atomic add, and no allocation.
//
// A joined lease (Join) stands for many others: when it settles it releases its share of each with its outcome.

// lease is one entry's, or one join's. shares > 0: open; 0: settled; < 0: collected by the committer.
type lease struct {
	shares atomic.Int32
	worst  atomic.Uint32
	slab   *slab
}

// slab holds the leases of one chunk of a source, or the single lease of a join.
type slab struct {
	leases  []lease
	metas   []Meta    // of the entries, beside leases; nil for a join
	from    *session  // who commits; nil for a join
	first   uint64    // sequence number of leases[0] in its source
	sizes   []int     // bytes of each entry, for the byte credits; nil when the source does not say
	members []*lease  // a join's
	at      time.Time // when it was read
	left    int       // not collected yet; the committer's alone
	scanned int       // leases before it are collected; the committer's alone

	mu    sync.Mutex // guards notes
	notes map[*lease]note
}

// note is what a settlement carries beside its outcome; seldom is there any.
type note struct {
	fault   *Fault // of the worst outcome
	effects []Effect
}

func newSlab(n int, from *session) *slab {
	s := &slab{leases: make([]lease, n), from: from, left: n, at: time.Now()}
	for i := range s.leases {
		s.leases[i].slab = s
		s.leases[i].shares.Store(1)
	}
	return s
}

// share adds n shares. It reports false, and adds nothing, if the lease has settled already: then somebody kept a
// message beyond its handler without holding it.
func (l *lease) share(n int32) bool {
	for {
		have := l.shares.Load()
		if have <= 0 {
			return false
		}
		if l.shares.CompareAndSwap(have, have+n) {
			return true
		}
	}
}

// release gives up one share with an outcome. The caller must own the share. news collects the sources that have
// something to commit because of it.
func (l *lease) release(o Outcome, f *Fault, news *news) {
	if l == nil {
		return
	}
	if o != Acked {
		l.worsen(o, f)
	}
	if l.shares.Add(-1) == 0 {
		l.settle(news)
	}
}

// settle passes the outcome on, once all shares are released.
func (l *lease) settle(news *news) {
	s := l.slab
	if s.members == nil {
		news.add(s.from)
		return
	}
	worst := Outcome(l.worst.Load())
	s.mu.Lock()
	n := s.notes[l]
	s.mu.Unlock()
	for _, member := range s.members {
		member.attach(n.effects)
		member.release(worst, n.fault, news)
	}
	s.members = nil
}

// worsen raises the worst outcome to o and keeps its fault; among equals the first fault stays.
func (l *lease) worsen(o Outcome, f *Fault) {
	l.slab.mu.Lock()
	defer l.slab.mu.Unlock()
	if Outcome(l.worst.Load()) >= o {
		return
	}
	l.worst.Store(uint32(o))
	if f != nil {
		n := l.slab.notes[l]
		n.fault = f
		l.slab.setNote(l, n)
	}
}

// attach keeps effects for the committer of the entry.
func (l *lease) attach(effects []Effect) {
	if l == nil || len(effects) == 0 {
		return
	}
	l.slab.mu.Lock()
	defer l.slab.mu.Unlock()
	n := l.slab.notes[l]
	n.effects = append(n.effects, effects...)
	l.slab.setNote(l, n)
}

func (s *slab) setNote(l *lease, n note) {
	if s.notes == nil {
		s.notes = make(map[*lease]note)
	}
	s.notes[l] = n
}

// collected is what shares is set to by the committer: so low that a stray release cannot make it zero again.
const collected = -1 << 30

// collect appends the settlements that are new since the last call, and returns the bytes they give back.
func (s *slab) collect(to []Settlement) (_ []Settlement, bytes int) {
	prefix := true
	for i := s.scanned; i < len(s.leases); i++ {
		have := s.leases[i].shares.Load()
		if have == 0 {
			to = append(to, s.settlement(i))
			bytes += s.take(i)
		} else if have > 0 {
			prefix = false
		}
		if prefix {
			s.scanned = i + 1
		}
	}
	return to, bytes
}

// abandon appends the settlements of what is still open, as Nacked: its holders are gone, or are given up.
func (s *slab) abandon(to []Settlement) (_ []Settlement, bytes int) {
	for i := s.scanned; i < len(s.leases); i++ {
		l := &s.leases[i]
		if l.shares.Load() < 0 {
			continue
		}
		if l.shares.Load() > 0 {
			l.worsen(Nacked, nil)
		}
		to = append(to, s.settlement(i))
		bytes += s.take(i)
	}
	return to, bytes
}

// take marks a lease as collected and returns the bytes it gives back.
func (s *slab) take(i int) (bytes int) {
	s.leases[i].shares.Store(collected)
	s.left--
	if s.sizes != nil {
		bytes = s.sizes[i]
	}
	return bytes
}

func (s *slab) settlement(i int) Settlement {
	l := &s.leases[i]
	st := Settlement{Seq: s.first + uint64(i), Meta: &noMeta, Outcome: Outcome(l.worst.Load())}
	if s.metas != nil {
		st.Meta = &s.metas[i]
	}
	s.mu.Lock()
	if s.notes != nil {
		n := s.notes[l]
		st.Fault, st.Effects = n.fault, n.effects
	}
	s.mu.Unlock()
	return st
}

// roots calls f with the source of each entry that the lease stands for.
func (l *lease) roots(f func(*session)) {
	if l == nil {
		return
	}
	if l.slab.from != nil {
		f(l.slab.from)
		return
	}
	for _, member := range l.slab.members {
		member.roots(f)
	}
}

// Effect is something that a source's committer applies together with the acknowledgement of an entry, instead of a
// sink writing it before (an atomic region). Which effects a source takes is between the sink and the source.
type Effect interface {
	// Effect describes the effect in a few words, for errors and logs.
	Effect() string
}

// Attach hands an effect to the committer of the entry behind the message, to be applied with its settlement. It
// reports false when there is no entry, or its source takes no effects: then the sink has to write as usual.
func (m Message[T]) Attach(e Effect) bool {
	takes := m.lease != nil
	m.lease.roots(func(s *session) { takes = takes && s.source.node.effects })
	if takes {
		m.lease.attach([]Effect{e})
	}
	return takes
}

// news is the set of source sessions with settlements that their committer has not been told of. A lane gathers them and tells
// once per chunk, so that a commit covers as much as it can.
type news struct {
	last *session
	more []*session
}

func (n *news) add(s *session) {
	if n.last == s {
		return
	}
	if n.last != nil {
		n.more = append(n.more, n.last)
	}
	n.last = s
}

func (n *news) tell() {
	if n.last == nil {
		return
	}
	n.last.wake()
	n.last = nil
	for _, s := range n.more {
		s.wake()
	}
	n.more = n.more[:0]
}
