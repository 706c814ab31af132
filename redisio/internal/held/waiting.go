package held

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/streamerson/streamerson-go/redisio"
)

// waitingLine says which of the parked entries falls due next.
//
// Idea: a heap has them by the time they fall due. They are taken in rounds, each of what had
// fallen due when it began. What joins the line for a time in this round waits for the next one in
// a second heap, for it was put back, most likely, since it could not be taken: it must not keep
// others from their turn. Nothing is ever removed but from the front: a turn that no longer agrees
// with what is parked is passed over, and when most are such, they go.
type waitingLine struct {
	heap  turns
	later turns // for the next round
	round int64 // when this one began
}

// turn is an entry and when it falls due.
type turn struct {
	due int64
	id  redisio.ID
}

func (t turn) compare(o turn) int { return cmp.Or(cmp.Compare(t.due, o.due), t.id.Compare(o.id)) }

// stands reports that an entry still waits for this turn.
func (t turn) stands(in map[redisio.ID]Parked) bool {
	p, ok := in[t.id]
	return ok && p.Due == t.due
}

type turns []turn

func (h turns) Len() int { return len(h) }

func (h turns) Less(i, j int) bool { return h[i].compare(h[j]) < 0 }

func (h turns) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *turns) Push(t any) { *h = append(*h, t.(turn)) }

func (h *turns) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	*h = (*h)[:last]
	return t
}

// join adds a turn. in is what is parked.
func (l *waitingLine) join(t turn, in map[redisio.ID]Parked) {
	switch {
	case t.due == neverDue:
	case t.due <= l.round:
		l.later.Add(t, in)
	default:
		l.heap.Add(t, in)
	}
}

func (h *turns) Add(t turn, in map[redisio.ID]Parked) {
	if len(*h) > 2*len(in)+64 {
		left := slices.DeleteFunc(*h, func(t turn) bool { return !t.stands(in) })
		slices.SortFunc(left, turn.compare) // which makes it a heap
		*h = slices.Compact(left)
	}
	heap.Push(h, t)
}

// first passes over turns that stand no more, and returns the first that does.
func (h *turns) first(in map[redisio.ID]Parked) (turn, bool) {
	for len(*h) > 0 && !(*h)[0].stands(in) {
		heap.Pop(h)
	}
	if len(*h) == 0 {
		return turn{}, false
	}
	return (*h)[0], true
}

// take removes the next of this round. When there is none, and more, a round begins with what has fallen due by now.
func (l *waitingLine) take(now int64, in map[redisio.ID]Parked, more bool) (redisio.ID, bool) {
	t, ok := l.heap.first(in)
	if (!ok || t.due > l.round) && more {
		for _, t := range l.later {
			l.heap.Add(t, in)
		}
		l.later, l.round = l.later[:0], now
		t, ok = l.heap.first(in)
	}
	if !ok || t.due > l.round {
		return redisio.ID{}, false
	}
	heap.Pop(&l.heap)
	return t.id, true
}

// next is when the next falls due, or did.
func (l *waitingLine) next(in map[redisio.ID]Parked) (at int64, ok bool) {
	a, ok := l.heap.first(in)
	b, later := l.later.first(in)
	if !ok || later && b.due < a.due {
		return b.due, later
	}
	return a.due, ok
}
