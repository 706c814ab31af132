package flow

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// nested is the sub-pipeline of a key.
type nested[T any, K comparable] struct {
	key        K
	la         *lane
	push       func([]Message[T])
	used       time.Time
	opened     int         // hooks that were opened
	over       bool        // it has ended
	buffers    bool        // it is in unflush
	stray      atomic.Bool // it is in strays
	alarm      time.Time   // the first
	at         int         // index in due; -1: it has no alarm
	next, prev *nested[T, K]
}

func (g *nested[T, K]) begin(head chain[T]) (err error) {
	defer Catch(&err)
	g.push = head.open(g.la)
	g.la.run.lanes.add(g.la)
	for _, h := range g.la.hooks {
		g.opened++
		if h.open != nil {
			if err := h.open(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *nested[T, K]) close() {
	g.over = true
	for _, h := range g.la.hooks[:g.opened] {
		if h.close != nil {
			h.close()
		}
	}
	g.la.run.lanes.remove(g.la)
	g.la.dirty.tell()
}

// discard ends the sub-pipeline early: it gives back what that has buffered and holds.
func (g *nested[T, K]) discard() {
	g.la.aborted = true
	for i := len(g.la.hooks) - 1; i >= 0; i-- {
		if f := g.la.hooks[i].drop; f != nil {
			f()
		}
	}
	g.close()
}

func (g *nested[T, K]) unlink() { g.prev.next, g.next.prev = g.next, g.prev }

// nestAlarms is a heap of the keys with alarms.
type nestAlarms[T any, K comparable] []*nested[T, K]

// move sets the time of a key's first alarm; the zero time for none.
func (d *nestAlarms[T, K]) move(g *nested[T, K], first time.Time) {
	if first.Equal(g.alarm) {
		return
	}
	g.alarm = first
	switch {
	case g.at < 0:
		heap.Push(d, g)
	case first.IsZero():
		heap.Remove(d, g.at)
	default:
		heap.Fix(d, g.at)
	}
}

func (d nestAlarms[T, K]) Len() int           { return len(d) }
func (d nestAlarms[T, K]) Less(i, j int) bool { return d[i].alarm.Before(d[j].alarm) }
func (d nestAlarms[T, K]) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].at, d[j].at = i, j
}

// Push implements heap.Interface.
func (d *nestAlarms[T, K]) Push(x any) {
	g := x.(*nested[T, K])
	g.at = len(*d)
	*d = append(*d, g)
}

// Pop implements heap.Interface.
func (d *nestAlarms[T, K]) Pop() any {
	last := len(*d) - 1
	g := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	g.at = -1
	return g
}
