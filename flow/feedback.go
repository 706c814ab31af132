package flow

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// Idea of loops: a blueprint has no cycle, so that all that walks it can recurse. The stage at the
// entrance reads in and, on a second edge, what comes back. The stage at the exit reads both results
// of build, and sends the one back over that edge. A message that enters gets a lease of its own,
// which holds the lease of its entry. It is settled when all that descends from the message has left
// the loop or is done, and then there is room for another. At the exit a message gets a share of
// the entry's lease again. So what is behind the loop does not hold up its entrance.
//
// A loop of bounded channels can fill up and block itself. So the edge back has room for bound
// chunks, one for each message, and a send to it never blocks. If a loop multiplies its messages and
// the edge is full, the message fails.

var errLoopFull = errors.New("flow: the loop is full: more messages are on their way back than its bound")

// Feedback makes a loop. build receives the messages of in and those that come back, and returns two
// sources: what leaves the loop, and what goes back to its start. At most bound messages of in are in
// the loop at once. Messages that come back have precedence over new ones. A message ends for the
// loop when everything made of it has left the loop or is done. If the loop makes several messages of
// one and more than bound messages are on their way back, the others fail: the fault policy of this
// stage decides on them, without retries.
//
// Stages within the loop must not hold messages without a time limit (Traits.HoldsFor), because a
// loop ends when in has ended and all its messages have left. A drain waits for that, too. A message
// that goes round for a long time should look at DrainStarted.
func Feedback[T, U any](
	in Source[T], name string, bound int, build func(loop Source[T]) (out Source[U], back Source[T]),
	opts ...StageOption,
) Source[U] {
	n := newNode(kindMerge, name, 1, opts)
	n.pairs, n.OneWorker, n.room = true, severalPorts, max(bound, 1)
	reads(n, in)
	n.needs(build != nil, "build")
	if bound < 1 {
		n.issue("bound", fmt.Sprintf("a loop for %d messages", bound), "give 1 or more")
	}
	x := newNode(kindVia, name+"-exit", 1, nil)
	x.OneWorker, x.Passes, x.loop = severalPorts, true, n
	loop := newSource(n, 0, func(b *builder, to chain[T]) {
		in.out.link(b, loopIsland(b, n, bound, b.ends[x][0].(*edge[T]), to).sender())
	})
	if build == nil {
		reads(x, loop)
		return newSource[U](x, 0, nil)
	}
	out, back := build(loop)
	reads(x, out)
	reads(x, back)
	return newSource(x, 0, func(b *builder, to chain[U]) {
		e := newEdge[T](b, n, n, max(bound, 1))
		e.raw, e.stats.from = false, back.out.node
		b.ends[x] = []boundary{e}
		out.out.link(b, exitTo(b, n, x, to))
		back.out.link(b, backTo(b, n, x, e))
	})
}

// loopState is the number of messages of in that are in a loop.
type loopState struct {
	node *node
	open atomic.Int32
	lane atomic.Pointer[lane] // at the entrance
}

// left is called when a message has left the loop.
func (l *loopState) left() {
	l.open.Add(-1)
	wake(l.lane.Load().wake)
}

// entrance is the handler at the entrance of a loop: port 0 is in, port 1 is what comes back.
type entrance[T any] struct {
	state *loopState
	bound int
	picks []int
}

func (h *entrance[T]) Handle(ctx context.Context, port int, m Message[T], emit Emit[T]) error {
	if port == 0 {
		s := newSlab(1, nil)
		s.loop = h.state
		if !m.lease.none() && m.lease.share(1) {
			s.members = []lease{m.lease}
		}
		m.lease = lease{slab: s}
		h.state.open.Add(1)
		stageOf(ctx).made(m.lease)
	}
	emit(m)
	return nil
}

// Pick reads what comes back first. It returns nothing when the loop is over.
func (h *entrance[T]) Pick(open []bool) []int {
	h.picks = h.picks[:0]
	inside := int(h.state.open.Load())
	if inside > 0 || open[0] {
		h.picks = append(h.picks, 1)
	}
	if inside < h.bound {
		h.picks = append(h.picks, 0)
	}
	return h.picks
}

// loopIsland makes the island at the entrance, and returns the edge from in.
func loopIsland[T any](b *builder, n *node, bound int, back *edge[T], to chain[T]) *edge[T] {
	enters := newEdge[T](b, n, n, edgeDepth)
	state := &loopState{node: n} // of all lives
	b.island(append([]*node{n}, to.nodes...), to.done, func() error {
		la := newLane(b.run)
		state.lane.Store(la)
		s := &gatherStage[T, T]{edges: []*edge[T]{enters, back}, loops: true}
		s.start(la, b.run.stages[n], to.open(la))
		s.renew = func() { s.h = &entrance[T]{state: state, bound: bound} }
		s.hook(nil)
		s.hookInputs()
		return la.live(s.body)
	})
	return enters
}

// exitTo makes the stage at the exit, which runs in the lane before it.
func exitTo[U any](b *builder, entrance, x *node, to chain[U]) chain[U] {
	return chain[U]{
		open: func(la *lane) func([]Message[U]) {
			push := counted(la, b.run.stages[x], to.open(la))
			return func(ms []Message[U]) {
				for i := range ms {
					inner := ms[i].lease
					if outer, ok := outside(inner, entrance); ok {
						ms[i].lease = outer
						la.ack(inner)
					}
				}
				push(ms)
			}
		},
		done:  to.done,
		nodes: append([]*node{x}, to.nodes...),
	}
}

// backTo makes the end of the loop, which sends what goes back without waiting.
func backTo[T any](b *builder, n, x *node, e *edge[T]) chain[T] {
	e.senders.Add(1)
	return chain[T]{
		open: func(la *lane) func([]Message[T]) {
			return func(ms []Message[T]) {
				for len(ms) > 0 {
					some := ms[:min(len(ms), e.size)]
					ms = ms[len(some):]
					if e.send(la, append(e.fresh(), some...), false, nil) {
						continue
					}
					for _, m := range some {
						failOutright(la, b.run.stages[n], m, errLoopFull)
					}
				}
			}
		},
		done:  e.left,
		nodes: []*node{x},
	}
}

// outside returns a new share of the lease that the given one has outside of a loop. It returns false
// for a lease that is not of this loop. The caller owns a share of the given lease.
func outside(l lease, loop *node) (lease, bool) {
	switch {
	case l.none() || l.slab.from != nil:
		return lease{}, false
	case l.slab.loop != nil && l.slab.loop.node == loop:
		if len(l.slab.members) == 0 {
			return lease{}, true
		}
		outer := l.slab.members[0]
		if l.of != 0 {
			outer.of = l.of
		}
		return outer, outer.share(1)
	case l.slab.watch != nil || l.slab.loop != nil:
		return lease{}, false // the message keeps its place in the loop until the watch has ended
	}
	s := newSlab(1, nil)
	s.members = make([]lease, len(l.slab.members))
	some := false
	for i, member := range l.slab.members {
		outer, ok := outside(member, loop)
		if !ok {
			member.share(1)
			outer = member
		}
		some, s.members[i] = some || ok, outer
	}
	if !some {
		var n dirtySessions
		for _, member := range s.members {
			member.drop(&n)
		}
		n.tell()
		return lease{}, false
	}
	return lease{slab: s, of: l.of}, true
}
