package flow

import (
	"slices"
	"sync"
	"time"
)

// Idea of giving back at a drain: some sources can pass entries that they have read on to other
// processes (GivesBack). When the graph drains, entries of these sources that no handler has begun
// go back at once. These are the messages that wait in the edges behind the sources, and those that
// a lane has taken from such an edge and not pushed. The lanes do not do this themselves, because a
// handler may take long. The goroutine that drains the graph empties the edges, and takes the
// unbegun messages of the lanes from their rests. Messages further downstream were begun, and are
// finished.

// untouched reports whether no handler has begun the input of n: it comes from sources, through
// stages that only pass it on.
func untouched(n *node) bool {
	return !slices.ContainsFunc(n.ins, func(in input) bool {
		return in.node == nil || in.node.kind != kindSource && !(in.node.Passes && untouched(in.node))
	})
}

// givesBack reports whether all input of n may be given back at a drain. A stage that waits for one
// input because of a message from another does not give back. Messages that a stage has held and
// passes on at its end are finished, too.
func (n *node) givesBack() bool {
	return !n.pairs && !slices.ContainsFunc(n.ins, func(in input) bool {
		if in.node.kind == kindSource {
			return !in.node.GivesBack
		}
		return in.node.Holds > 0 || !in.node.givesBack()
	})
}

// rests is the set of rests of the lanes that read one edge.
type rests[T any] struct {
	mu  sync.Mutex
	all []*rest[T]
}

// rest is the part of a chunk that a lane has taken from its edge and not begun. The lane takes one
// grain at a time from it: as many messages as it handles in about a millisecond, or a single one
// while messages are slow.
type rest[T any] struct {
	stats *edgeStats
	grain int // owned by the lane

	mu      sync.Mutex
	waiting []Message[T]
}

const (
	grainTime = time.Millisecond
	mostGrain = 1 << 16
)

// join adds the rest of a lane. stats counts its messages. leave removes it.
func (rs *rests[T]) join(stats *edgeStats) *rest[T] {
	h := &rest[T]{stats: stats, grain: 1}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all = append(rs.all, h)
	return h
}

func (rs *rests[T]) leave(h *rest[T]) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all = slices.DeleteFunc(rs.all, func(o *rest[T]) bool { return o == h })
}

// sweep gives back the messages that the lanes have not begun.
func (rs *rests[T]) sweep(dirty *dirtySessions) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, h := range rs.all {
		h.sweep(dirty)
	}
}

// sweep gives back the messages in the edge, and those that its lanes have not begun.
func (e *edge[T]) sweep(dirty *dirtySessions) {
	e.gives.sweep(dirty)
	for {
		select {
		case chunk, ok := <-e.ch:
			if !ok {
				return
			}
			giveBackTo(dirty, chunk, true)
			e.stats.worked(len(chunk))
		default:
			return
		}
	}
}

// sweep gives back the remaining messages. It holds the lock throughout, because afterwards the
// lane reuses the slice.
func (h *rest[T]) sweep(dirty *dirtySessions) {
	h.mu.Lock()
	defer h.mu.Unlock()
	giveBackTo(dirty, h.waiting, true)
	h.stats.worked(len(h.waiting))
	h.waiting = nil
}

// take takes up to n messages.
func (h *rest[T]) take(n int) []Message[T] {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = min(n, len(h.waiting))
	part := h.waiting[:n]
	h.waiting = h.waiting[n:]
	return part
}

// pushAll pushes a chunk. If the graph drains, it gives the rest of the chunk back.
func (h *rest[T]) pushAll(la *lane, chunk []Message[T], push func(Message[T])) {
	h.mu.Lock()
	h.waiting = chunk
	h.mu.Unlock()
	defer h.sweep(&la.dirty) // messages are left if the lane is aborted or panics, or the graph drains
	for !la.aborted && la.run.reading.Err() == nil {
		part := h.take(h.grain)
		if len(part) == 0 {
			return
		}
		started := time.Now()
		pushAll(la, part, push)
		took := time.Since(started)
		h.stats.worked(len(part))
		h.grain = 2 * h.grain
		if took > 0 {
			h.grain = min(h.grain, max(1, int(int64(len(part))*int64(grainTime)/int64(took))))
		}
		h.grain = min(h.grain, mostGrain)
	}
}

// sweep gives back at once all messages that no handler has begun and that can be given back.
func (r *Running) sweep() {
	var n dirtySessions
	for _, f := range r.sweeps {
		f(&n)
	}
	n.tell()
}

// giveBack gives up a share of an entry that no handler has begun: see Settlement.Unbegun.
func (l lease) giveBack(dirty *dirtySessions) {
	if l.none() {
		return
	}
	if join := (lease{slab: l.slab, at: l.at}).join(); l.of > 0 && join != nil && int(l.of) <= len(join.members) {
		join.worsenMember(int(l.of)-1, ended{outcome: Nacked, unbegun: true})
	} else {
		l.slab.notBegun(l)
	}
	if l.cell().more.Add(-1) == settled {
		l.settle(dirty)
	}
}

// notBegun makes the lease Nacked and not begun, unless its outcome is already worse.
func (s *slab) notBegun(l lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	worst := &l.cell().worst
	if Outcome(worst.Load()) >= Nacked {
		return
	}
	worst.Store(uint32(Nacked))
	n := s.notes[l.at]
	n.fault, n.unbegun = nil, true
	s.setNote(l, n)
}
