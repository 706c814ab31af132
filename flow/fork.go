package flow

import (
	"context"
	"time"
)

// ForkFunc is a RouteFunc for two outputs of different types.
type ForkFunc[T, A, B any] func(ctx context.Context, m Message[T], a Emit[A], b Emit[B]) error

// Handle calls f.
func (f ForkFunc[T, A, B]) Handle(ctx context.Context, m Message[T], a Emit[A], b Emit[B]) error {
	return f(ctx, m, a, b)
}

// ForkHandler is a Handler with two outputs of different types. Optional interfaces: ForkAlarm,
// ForkEnder.
type ForkHandler[T, A, B any] interface {
	Handle(ctx context.Context, m Message[T], a Emit[A], b Emit[B]) error
}

// ForkAlarm is a ForkHandler with a timer. It works like Alarm.
type ForkAlarm[A, B any] interface {
	Next() time.Time
	Ring(ctx context.Context, a Emit[A], b Emit[B]) error
}

// ForkEnder is a ForkHandler that emits the messages it holds when its input has ended. It works
// like Ender.
type ForkEnder[A, B any] interface {
	End(ctx context.Context, a Emit[A], b Emit[B]) error
}

// Fork makes a stage with two outputs of different types, such as an operator that splits successes
// from failures, or one case from the rest. Otherwise it works like Route.
func Fork[T, A, B any](
	in Source[T], name string, newHandler func() ForkFunc[T, A, B], opts ...StageOption,
) (Source[A], Source[B]) {
	if newHandler == nil {
		return ForkVia[T, A, B](in, name, nil, opts...)
	}
	return ForkVia(in, name, func() ForkHandler[T, A, B] { return newHandler() }, opts...)
}

// ForkVia is Fork for a ForkHandler, which may have a timer and may emit at the end. The timer
// fires between two messages, also if no message arrives. With Async, a slow stage before it does
// not delay the timer.
func ForkVia[T, A, B any](
	in Source[T], name string, newHandler func() ForkHandler[T, A, B], opts ...StageOption,
) (Source[A], Source[B]) {
	nd := newNode(kindRoute, name, 2, opts)
	reads(nd, in)
	nd.needs(newHandler != nil, "newHandler")
	nd.oneWorker = severalPorts
	// Each output waits until the other's chain is linked. The last one links the input.
	type ends struct {
		a *edge[A]
		b *edge[B]
	}
	link := func(b *builder, set func(*ends)) {
		e := stateOf(b, nd, func() *ends { return &ends{} })
		set(e)
		if e.a != nil && e.b != nil {
			in.out.link(b, forkChain(nd, b, newHandler, e.a, e.b))
		}
	}
	a := newSource(nd, 0, func(b *builder, to chain[A]) {
		link(b, func(e *ends) { e.a = edgeTo(b, nd, to) })
	})
	z := newSource(nd, 1, func(b *builder, to chain[B]) {
		link(b, func(e *ends) { e.b = edgeTo(b, nd, to) })
	})
	return a, z
}

// forkStage runs a ForkHandler.
type forkStage[T, A, B any] struct {
	turn
	h     ForkHandler[T, A, B]
	portA *port[A]
	portB *port[B]
	bufA  []Message[A]
	bufB  []Message[B]
	emitA Emit[A]
	emitB Emit[B]
}

func forkChain[T, A, B any](
	nd *node, b *builder, newHandler func() ForkHandler[T, A, B], ea *edge[A], eb *edge[B],
) chain[T] {
	ea.senders.Add(1)
	eb.senders.Add(1)
	return chain[T]{
		open: func(la *lane) func(Message[T]) {
			s := &forkStage[T, A, B]{portA: ea.attach(la), portB: eb.attach(la)}
			s.init(la, b.run.stages[nd])
			s.renew = func() { s.h = newHandler() }
			s.passOn, s.discard = s.pushAll, s.clear
			s.emitA = func(m Message[A]) {
				m.lease = s.emitted(m.lease)
				if s.bufA = append(s.bufA, m); len(s.bufA) >= defaultChunk {
					s.forward(true)
				}
			}
			s.emitB = func(m Message[B]) {
				m.lease = s.emitted(m.lease)
				if s.bufB = append(s.bufB, m); len(s.bufB) >= defaultChunk {
					s.forward(true)
				}
			}
			s.hook(s.end)
			s.rings(func() alarmed { return find[ForkAlarm[A, B]](s.h) }, s.ring)
			return s.push
		},
		done: func() {
			ea.left()
			eb.left()
		},
		nodes: []*node{nd},
	}
}

func (s *forkStage[T, A, B]) push(m Message[T]) {
	s.handle(m.lease, m.metaRef(), func(ctx context.Context) error { return s.h.Handle(ctx, m, s.emitA, s.emitB) })
}

func (s *forkStage[T, A, B]) ring(ctx context.Context) error {
	return s.h.(ForkAlarm[A, B]).Ring(ctx, s.emitA, s.emitB)
}

func (s *forkStage[T, A, B]) end() error {
	e, ok := s.h.(ForkEnder[A, B])
	if !ok {
		return nil
	}
	return s.apart(func(ctx context.Context) error { return e.End(ctx, s.emitA, s.emitB) })
}

func (s *forkStage[T, A, B]) pushAll() {
	for i := range s.bufA {
		s.portA.push(s.bufA[i])
	}
	for i := range s.bufB {
		s.portB.push(s.bufB[i])
	}
	s.clear()
}

func (s *forkStage[T, A, B]) clear() {
	clear(s.bufA)
	clear(s.bufB)
	s.bufA, s.bufB = s.bufA[:0], s.bufB[:0]
}
