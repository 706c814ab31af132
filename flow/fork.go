package flow

import "context"

// ForkFunc is a RouteFunc for two outputs of different types.
type ForkFunc[T, A, B any] func(ctx context.Context, m Message[T], a Emit[A], b Emit[B]) error

// Fork makes a stage with two outputs of different types: an operator that splits what succeeds from what does not, or
// one case from the rest. Otherwise it is as Route.
func Fork[T, A, B any](
	in Source[T], name string, make func() ForkFunc[T, A, B], opts ...StageOption,
) (Source[A], Source[B]) {
	nd := newNode(kindRoute, name, 2, opts)
	reads(nd, in)
	nd.needs(make != nil, "make")
	nd.oneWorker = severalPorts
	// Each output waits for the other's chain to be linked: the last one links the input.
	type ends struct {
		a *edge[A]
		b *edge[B]
	}
	link := func(b *builder, set func(*ends)) {
		e := stateOf(b, nd, func() *ends { return &ends{} })
		set(e)
		if e.a != nil && e.b != nil {
			in.out.link(b, forkChain(nd, b, make, e.a, e.b))
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

// forkStage runs a ForkFunc.
type forkStage[T, A, B any] struct {
	turn
	f     ForkFunc[T, A, B]
	portA *port[A]
	portB *port[B]
	bufA  []Message[A]
	bufB  []Message[B]
	emitA Emit[A]
	emitB Emit[B]
}

func forkChain[T, A, B any](
	nd *node, b *builder, make func() ForkFunc[T, A, B], ea *edge[A], eb *edge[B],
) chain[T] {
	ea.senders.Add(1)
	eb.senders.Add(1)
	return chain[T]{
		open: func(la *lane) func(Message[T]) {
			s := &forkStage[T, A, B]{portA: ea.attach(la), portB: eb.attach(la)}
			s.init(la, b.run.stages[nd])
			s.renew = func() { s.f = make() }
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
			s.hook(nil)
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
	s.handle(m.lease, m.metaRef(), func(ctx context.Context) error { return s.f(ctx, m, s.emitA, s.emitB) })
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
