package flow

import (
	"slices"
	"sync"
	"time"
)

// Idea of giving back at a drain: some sources can hand what they have read to other processes
// (GivesBack). When the graph drains, what no handler has begun of theirs goes back at once: what
// waits in the edges behind the sources, and what a lane has taken from such an edge and not
// pushed. A handler may take its time, so this is not left to the lanes. Whoever drains the graph
// empties the edges, and takes from the lanes what they keep in a rest. What is further on was
// begun, and is finished.

// untouched reports that no handler has begun what n is given: it comes from sources, by stages that only pass it on.
func untouched(n *node) bool {
	return !slices.ContainsFunc(n.ins, func(in input) bool {
		return in.node == nil || in.node.kind != kindSource && !(in.node.passes && untouched(in.node))
	})
}

// givesBack reports that all messages n is given may go back at a drain. A stage that waits for one
// input because of what came from another does not give back. What a stage has held and passes on
// at its end is finished, too.
func (n *node) givesBack() bool {
	return !n.pairs && !slices.ContainsFunc(n.ins, func(in input) bool {
		if in.node.kind == kindSource {
			return !in.node.returns
		}
		return in.node.holds > 0 || !in.node.givesBack()
	})
}

// rests are the rests of the lanes that read an edge.
type rests[T any] struct {
	mu  sync.Mutex
	all []*rest[T]
}

// rest is what a lane has taken from its edge and not begun. The lane takes a grain at a time from
// it: as many messages as it handles in about a millisecond, and one while they are slow.
type rest[T any] struct {
	stats *edgeStats
	grain int // the lane's

	mu      sync.Mutex
	waiting []Message[T]
}

const (
	grainTime = time.Millisecond
	mostGrain = 1 << 16
)

// join adds the rest of a lane, and counts in stats what becomes of it; leave removes it.
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

// sweep gives back what the lanes have not begun.
func (rs *rests[T]) sweep(news *news) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, h := range rs.all {
		h.sweep(news)
	}
}

// sweep gives back what the edge carries, and what its lanes have not begun.
func (e *edge[T]) sweep(news *news) {
	e.gives.sweep(news)
	for {
		select {
		case chunk, ok := <-e.ch:
			if !ok {
				return
			}
			giveBackTo(news, chunk, true)
			e.stats.worked(len(chunk))
		default:
			return
		}
	}
}

// sweep gives back what is left. It holds the lock meanwhile: after it the lane uses the slice again.
func (h *rest[T]) sweep(news *news) {
	h.mu.Lock()
	defer h.mu.Unlock()
	giveBackTo(news, h.waiting, true)
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

// pushAll pushes a chunk, unless the graph drains: then it gives the chunk back.
func (h *rest[T]) pushAll(la *lane, chunk []Message[T], push func(Message[T])) {
	h.mu.Lock()
	h.waiting = chunk
	h.mu.Unlock()
	defer h.sweep(&la.news) // nothing is left, unless the lane is aborted or panics, or the graph drains
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

// sweep gives back at once what no handler has begun, where it can be given back.
func (r *Running) sweep() {
	var n news
	for _, f := range r.sweeps {
		f(&n)
	}
	n.tell()
}
