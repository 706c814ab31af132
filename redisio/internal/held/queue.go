package held

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/streamerson/streamerson-go/redisio"
)

// dueQueue has the waiting entries by the time at which they are due.
//
// Idea: a heap orders them by their time. They are taken in rounds. A round has all entries that
// were due when it began. An entry that joins with a time of the current round waits in a second
// heap for the next round. Most likely it could not be taken and was put back, and it must not delay
// others. Turns are removed from the front only. A turn that does not match the entry's record is
// skipped. When most are such, they are deleted.
type dueQueue struct {
	heap  turns
	later turns // for the next round
	round int64 // when this one began
}

// turn is an entry and the time at which it is due.
type turn struct {
	due int64
	id  redisio.ID
}

func (t turn) compare(o turn) int { return cmp.Or(cmp.Compare(t.due, o.due), t.id.Compare(o.id)) }

// stands reports whether an entry still waits for this turn.
func (t turn) stands(in map[redisio.ID]Record) bool {
	p, ok := in[t.id]
	return ok && p.State.waits() && p.Due == t.due
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

// join adds a turn. in has the records of the entries.
func (l *dueQueue) join(t turn, in map[redisio.ID]Record) {
	switch {
	case t.due == neverDue:
	case t.due <= l.round:
		l.later.add(t, in)
	default:
		l.heap.add(t, in)
	}
}

func (h *turns) add(t turn, in map[redisio.ID]Record) {
	if len(*h) > 2*len(in)+64 {
		left := slices.DeleteFunc(*h, func(t turn) bool { return !t.stands(in) })
		slices.SortFunc(left, turn.compare) // which makes it a heap
		*h = slices.Compact(left)
	}
	heap.Push(h, t)
}

// first drops turns that do not stand any more, and returns the first that does.
func (h *turns) first(in map[redisio.ID]Record) (turn, bool) {
	for len(*h) > 0 && !(*h)[0].stands(in) {
		heap.Pop(h)
	}
	if len(*h) == 0 {
		return turn{}, false
	}
	return (*h)[0], true
}

// take removes the next turn of this round. At the end of the round, if more is true, it begins a
// new one with all entries that are due now.
func (l *dueQueue) take(now int64, in map[redisio.ID]Record, more bool) (redisio.ID, bool) {
	t, ok := l.heap.first(in)
	if (!ok || t.due > l.round) && more {
		for _, t := range l.later {
			l.heap.add(t, in)
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

// next returns when the next entry is due, or was.
func (l *dueQueue) next(in map[redisio.ID]Record) (at int64, ok bool) {
	a, ok := l.heap.first(in)
	b, later := l.later.first(in)
	if !ok || later && b.due < a.due {
		return b.due, later
	}
	return a.due, ok
}
