package flow

import (
	"sync"
	"sync/atomic"
	"time"
)

// Idea: there is one lease per entry read, in one slab per chunk read. Each lease has a count of
// its shares: one for each message that still descends from the entry, and one for each hold. The
// owner of a share releases it with an outcome. When the last share is released, the lease settles,
// once, with the worst outcome. The source's committer finds it by scanning its few slabs. So an
// ack costs one atomic add and no allocation. A sink acknowledges a chunk: the entries that have no
// other share need one atomic operation for 64 neighbours.
//
// A joined lease (Join) stands for many other leases. When it settles, it releases its share of
// each with its own outcome. A share of a join may concern one member only (see Member). Its
// outcome is then that of this member and not of the others.

// lease is the lease of one entry or one join. The zero lease belongs to a message without an
// entry.
type lease struct {
	slab *slab
	at   int32
	of   int32 // of a join: 1 + the index of the share's member; 0: all members
}

// cell is the state of a lease. It holds no pointers, and its zero value is a lease with one share,
// so slabs are cheap to make.
type cell struct {
	more  atomic.Int32  // shares beyond the first; settled: no share is left; below: collected by the committer
	worst atomic.Uint32 // the worst Outcome, and lostBit; the slab's mu guards writes
}

// raise sets the worst outcome. The caller holds the slab's mu.
func (c *cell) raise(o Outcome) { c.worst.Store(c.worst.Load()&lostBit | uint32(o)) }

func (c *cell) lost() bool { return c.worst.Load()&lostBit != 0 }

const (
	lostBit   = 1 << 8 // the source has lost the lease
	settled   = -1
	collected = -1 << 30 // so low that a stray release cannot make it settled again
)

// slab holds the leases of one chunk of a source, or the single lease of a join.
type slab struct {
	cells   []cell
	acked   []atomic.Uint64 // a bit for each cell: 1 if ackAll gave up its only share; nil for a join
	records []record        // of the entries, parallel to cells; nil if none has metadata or a size, and for a join
	from    *session        // the session that commits; nil for a join
	first   uint64          // sequence number of the first entry in its session
	members []lease         // of a join, in the order of Meta.Members; of a watched message; immutable
	each    []ended         // of a join: how single members ended; guarded by mu; nil while none has ended
	watch   *watch          // set for a watched message
	loop    *loopState      // set for a message in a loop
	spans   []Span          // of a chunk, parallel to cells, or of a join; nil if it is not traced; immutable
	since   time.Time       // time of the read
	left    int             // leases not collected yet; owned by the committer
	scanned int             // cells before it are collected; owned by the committer

	mu   sync.Mutex      // guards ends
	ends map[int32]ended // of the leases with a fault, and of those that no handler began
}

// ended is how a share ended.
type ended struct {
	outcome Outcome
	fault   *Fault
	unbegun bool // Nacked before a handler began it
}

// worst returns the worse of two ends. Of equal outcomes it returns the first with a fault.
func worst(a, b ended) ended {
	if b.outcome > a.outcome || b.outcome == a.outcome && (a.unbegun || a.fault == nil && !b.unbegun) {
		return b
	}
	return a
}

func newSlab(n int, from *session) *slab {
	s := &slab{cells: make([]cell, n), from: from, left: n, since: time.Now()}
	if from != nil {
		s.acked = make([]atomic.Uint64, (n+63)/64)
	}
	return s
}

// shares returns the number of shares of a lease beyond the first, or settled or less.
func (s *slab) shares(at int) int32 {
	more := s.cells[at].more.Load()
	if more == 0 && s.acked != nil && s.acked[at/64].Load()&(1<<(at%64)) != 0 {
		return settled
	}
	return more
}

func (l lease) none() bool { return l.slab == nil }

func (l lease) cell() *cell { return &l.slab.cells[l.at] }

// share adds n shares. It reports false and adds nothing if the lease has already settled. That
// happens if a message was kept beyond its handler without a hold.
func (l lease) share(n int32) bool {
	c := l.cell()
	for {
		have := l.slab.shares(int(l.at))
		if have <= settled {
			return false
		}
		if c.more.CompareAndSwap(have, have+n) {
			return true
		}
	}
}

// release gives up one share with an outcome. The caller must own the share. The sources that have
// something to commit as a result are added to dirty.
func (l lease) release(o Outcome, f *Fault, dirty *dirtySessions) {
	l.end(ended{outcome: o, fault: f}, dirty)
}

// giveBack gives up a share of an entry that no handler has begun: see Settlement.Unbegun.
func (l lease) giveBack(dirty *dirtySessions) {
	l.end(ended{outcome: Nacked, unbegun: true}, dirty)
}

// end gives up one share with the given end.
func (l lease) end(how ended, dirty *dirtySessions) {
	if l.none() {
		return
	}
	if how.outcome != Acked {
		l.worsen(how)
	}
	l.drop(dirty)
}

// drop gives up one share and leaves the outcome as it is. The lease must not be none.
func (l lease) drop(dirty *dirtySessions) {
	if l.cell().more.Add(-1) == settled {
		l.settle(dirty)
	}
}

// ackAll gives up the shares of messages that are done.
func ackAll[T any](dirty *dirtySessions, chunk []Message[T]) {
	for i := 0; i < len(chunk); {
		first, only := chunk[i].lease, uint64(0)
		for ; i < len(chunk); i++ {
			l := chunk[i].lease
			if l.none() || l.slab != first.slab || l.at/64 != first.at/64 ||
				l.slab.acked == nil || l.cell().more.Load() != 0 {
				break
			}
			only |= 1 << (l.at % 64) // no other share exists, so none can be added
		}
		switch {
		case only != 0:
			first.slab.acked[first.at/64].Or(only)
			dirty.add(first.slab.from)
			continue
		case !first.none():
			first.drop(dirty)
		}
		i++
	}
}

// settle passes the outcome on after all shares are released.
func (l lease) settle(dirty *dirtySessions) {
	s := l.slab
	if s.from != nil {
		dirty.add(s.from)
		return
	}
	s.mu.Lock()
	end, each := s.end(int(l.at)), s.each
	s.mu.Unlock()
	if s.watch != nil {
		told := worst(end, l.worstMember())
		if why := l.cancelled(); why != nil && told.outcome != Acked && s.cells[l.at].lost() {
			end = ended{outcome: Dropped, fault: &Fault{Graph: s.watch.run.graph.name, Err: why}}
			told = end
		}
		s.watch.run.watches.settled(watchedEnd{l, end, told}, dirty)
		return
	}
	if s.spans != nil {
		dirty.spans = append(dirty.spans, s.endOf(int(l.at), worst(end, l.worstMember())))
	}
	if s.loop != nil {
		defer s.loop.left()
	}
	for i, member := range s.members {
		one := end
		if each != nil {
			one = worst(end, each[i])
		}
		member.end(one, dirty)
	}
}

// join returns the join that the lease stands for, also if the join is watched or is a member of
// another join. It returns nil if the lease stands for no join. The caller owns a share.
func (l lease) join() *slab {
	for !l.none() {
		s := l.slab
		switch {
		case len(s.members) == 0: // an entry
			return nil
		case s.watch != nil || s.loop != nil:
			l = s.members[0]
		case l.of > 0:
			l = s.members[l.of-1]
		case len(s.members) == 1: // a join of one message stands for its member
			if inner := s.members[0].join(); inner != nil {
				return inner
			}
			return s
		default:
			return s
		}
	}
	return nil
}

// member returns the lease of the member that the share concerns. It returns false if the share
// concerns all members.
func (l lease) member() (lease, bool) {
	if s := l.ofJoin(); s != nil {
		return s.members[l.of-1], true
	}
	return lease{}, false
}

// ofJoin returns the join of the member that the share concerns, or nil if it concerns all members.
func (l lease) ofJoin() *slab {
	if l.of == 0 {
		return nil
	}
	s := lease{slab: l.slab, at: l.at}.join()
	if s == nil || int(l.of) > len(s.members) {
		return nil
	}
	return s
}

// about returns a lease that concerns the i-th member of the join that l stands for, if that join
// has n members.
func (l lease) about(i, n int) lease {
	if l.of != 0 || n == 0 {
		return l // a member of a member shares the outcome of that member
	}
	if s := l.join(); s != nil && len(s.members) == n {
		l.of = int32(i) + 1
	}
	return l
}

// same reports whether two leases are the same, regardless of the members their shares concern.
func (l lease) same(as lease) bool { return l.slab == as.slab && l.at == as.at }

// worstMember returns the worst end of a single member of the join that the lease stands for.
func (l lease) worstMember() (end ended) {
	s := l.join()
	if s == nil {
		return end
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.each {
		end = worst(end, one)
	}
	return end
}

// worsen makes the end of the lease, or of the member that the share concerns, the worse of its end
// and how.
func (l lease) worsen(how ended) {
	if s := l.ofJoin(); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.each == nil {
			s.each = make([]ended, len(s.members))
		}
		s.each[l.of-1] = worst(s.each[l.of-1], how)
		return
	}
	l.slab.mu.Lock()
	defer l.slab.mu.Unlock()
	l.slab.worsen(int(l.at), how)
}

// end returns the end of a lease so far. The caller holds mu.
func (s *slab) end(at int) (end ended) {
	if s.ends != nil {
		end = s.ends[int32(at)]
	}
	end.outcome = Outcome(s.cells[at].worst.Load())
	return end
}

// worsen makes the end of a lease the worse of its end and how. The caller holds mu.
func (s *slab) worsen(at int, how ended) {
	was := s.end(at)
	now := worst(was, how)
	s.cells[at].raise(now.outcome)
	if now.fault == was.fault && now.unbegun == was.unbegun {
		return
	}
	if s.ends == nil {
		s.ends = make(map[int32]ended)
	}
	s.ends[int32(at)] = now
}

// roots calls f with the session of each entry that the lease stands for.
func (l lease) roots(f func(*session)) {
	if l.none() {
		return
	}
	if l.slab.from != nil {
		f(l.slab.from)
		return
	}
	if one, ok := l.member(); ok {
		one.roots(f)
		return
	}
	for _, member := range l.slab.members {
		member.roots(f)
	}
}

// dirtySessions is the set of source sessions with settlements that their committer does not know
// of yet. A lane collects them and notifies the committers once per chunk, so that a commit covers
// as many settlements as possible.
type dirtySessions struct {
	last  *session
	more  []*session
	spans []spanEnd // of joins that have settled
}

func (n *dirtySessions) add(s *session) {
	if n.last == s {
		return
	}
	if n.last != nil {
		n.more = append(n.more, n.last)
	}
	n.last = s
}

func (n *dirtySessions) tell() {
	if len(n.spans) > 0 {
		endSpans(n.spans)
		n.spans = nil
	}
	if n.last == nil {
		return
	}
	n.last.tell()
	n.last = nil
	for _, s := range n.more {
		s.tell()
	}
	n.more = n.more[:0]
}

// giveBack gives back messages that the lane has not pushed.
func giveBack[T any](la *lane, chunk []Message[T]) {
	giveBackTo(&la.dirty, chunk, la.raw)
}

// giveBackTo gives back unfinished messages. raw means that no handler has begun them.
func giveBackTo[T any](dirty *dirtySessions, chunk []Message[T], raw bool) {
	for i := range chunk {
		if raw {
			chunk[i].lease.giveBack(dirty)
		} else {
			chunk[i].lease.release(Nacked, nil, dirty)
		}
	}
}
