package flow

import (
	"container/heap"
	"fmt"
	"sync/atomic"
	"time"
)

// Idea of nesting: the stages of a sub-pipeline are one blueprint, and each key gets a life of its
// own of their chain, as a restart makes one. All lives run on the lane of the nesting stage, one
// message after the other, and pass on to the same stage behind. So there is nothing between two
// keys that could block, and a key costs only the state of its stages. Each life has a small lane
// for its hooks and alarms. Its outer lane does everything that needs a goroutine, and measures the
// work.

// Nest makes a stage that runs a sub-pipeline for each key: messages of a key pass through stages
// with a state of their own, in order. Nest calls sub once, with the messages of a key as its
// source, and sub returns the output. All messages run on one goroutine, so keys cannot block each
// other. But while a message waits for a retry or in Sleep, all wait. Stages of the sub-pipeline
// must have one input and one output and no workers, which Validate checks; an Async of theirs is
// ignored.
//
// A key's sub-pipeline ends when it had no message for idle, and when more than most keys are in use:
// then the key that was used least recently ends. At its end it passes on what it holds, as at the
// end of its input. The next message of the key begins a new one. An error or a panic of key is a
// fault of its message.
func Nest[T, U any, K comparable](
	in Source[T], name string, key func(T) K, most int, idle time.Duration,
	sub func(Source[T]) Source[U], opts ...StageOption,
) Source[U] {
	n := newVia(name, true, opts)
	n.OneWorker = "the sub-pipelines of all keys run on one goroutine"
	reads(n, in)
	n.needs(key != nil, "key")
	n.needs(sub != nil, "sub")
	if most < 1 {
		n.issue("most", fmt.Sprintf("%d keys", most), "give 1 or more")
	}
	n.positive("idle", idle, "")
	inner := newSource(n, 0, func(b *builder, to chain[T]) { b.heads[n] = to })
	broken := newSource(n, 0, func(*builder, chain[U]) {})
	if sub == nil {
		return broken
	}
	out := sub(inner)
	if out.out == nil || !n.nests(out.out.node, idle) {
		n.issue("sub", "it does not return a chain of stages with one input, one output and no workers",
			"build it of such stages only, from the source that sub receives")
		return broken
	}
	return newSource(out.out.node, out.out.port, func(b *builder, to chain[U]) {
		out.out.link(b, chain[U]{
			open: func(la *lane) func([]Message[U]) { return la.nest.exit.(func([]Message[U])) },
			done: func() {},
		})
		head := b.heads[n].(chain[T])
		own := chain[T]{
			open: func(la *lane) func([]Message[T]) {
				s := &nestStage[T, K]{key: key, most: most, idle: idle, head: head, keys: make(map[K]*nested[T, K])}
				s.exit = exits(la, to.open(la))
				s.start(la, b.run.stages[n])
				la.measures(head.nodes)
				return s.push
			},
			done:  to.done,
			nodes: append(append([]*node{n}, head.nodes...), to.nodes...),
		}
		linkTo(b, in, n, own)
	})
}

// nests reports whether the stages from n to last may be nested, and prepares them.
func (n *node) nests(last *node, idle time.Duration) bool {
	for at := last; at != n; at = at.ins[0].node {
		if at == nil || at.kind != kindVia || len(at.ins) != 1 || at.workers > 1 {
			return false
		}
		at.async = false
		if at.Holds > 0 && (at.HoldsFor <= 0 || at.HoldsFor > idle) {
			at.HoldsFor = idle // then its key ends
		}
	}
	return true
}

// nesting is the part of a lane about the lane that it is nested in.
type nesting struct {
	outer   *lane
	exit    any    // a func([]Message[U]): passes on what leaves the sub-pipeline
	strayed func() // has the holds settled that were ended outside their handler's calls
}

// strayed notes that a hold was ended. Any goroutine may call it.
func (la *lane) strayed() {
	if la.nest == nil {
		wake(la.wake)
		return
	}
	la.nest.strayed()
	la.nest.outer.strayed()
}

// measures makes the gauges of stages that are nested in the lane, which does not live yet. Lanes of
// keys have none.
func (la *lane) measures(nodes []*node) {
	if la.nest != nil {
		return
	}
	for _, n := range nodes {
		la.stages = append(la.stages, &stageBase{la: la, st: la.run.stages[n]})
	}
}

// gaugeOf returns the gauge of a stage that is nested in the lane.
func (la *lane) gaugeOf(st *stageRun) *stageBase {
	for la.nest != nil {
		la = la.nest.outer
	}
	for _, s := range la.stages {
		if s.st == st {
			return s
		}
	}
	return nil
}

// exits returns a function that makes the ends of sub-pipelines in la. They pass messages on to
// behind. If la is aborted there, the key's lane is.
func exits[U any](la *lane, behind func([]Message[U])) func(*lane) any {
	return func(of *lane) any {
		return func(ms []Message[U]) {
			behind(ms)
			of.aborted = of.aborted || la.aborted
		}
	}
}

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
