package flow

// Merge combines several sources of one type in order of arrival. All inputs share one edge, so
// Merge needs no goroutine of its own and no input can starve another. The order within each input
// is kept. It ends when all inputs have ended.
func Merge[T any](name string, ins []Source[T], opts ...StageOption) Source[T] {
	n := newNode(kindMerge, name, 1, opts)
	n.oneWorker, n.passes = severalPorts, true
	for _, in := range ins {
		reads(n, in)
	}
	n.needsInputs(len(ins))
	return newSource(n, 0, func(b *builder, to chain[T]) {
		e := edgeTo(b, n, chain[T]{
			open:  func(la *lane) func(Message[T]) { return counted(la, b.run.stages[n], to.open(la)) },
			done:  to.done,
			nodes: append([]*node{n}, to.nodes...),
		})
		for _, in := range ins {
			in.out.link(b, e.sender())
		}
	})
}

func (n *node) needsInputs(have int) {
	if have == 0 {
		n.issue("ins", "it has no inputs", "give it one or more sources")
	}
}

// counted counts the messages that pass through a stage without a handler.
func counted[T any](la *lane, st *stageRun, next func(Message[T])) func(Message[T]) {
	s := &stageBase{}
	s.init(la, st)
	la.hooks = append(la.hooks, hook{
		flush: func(bool) { s.count() },
		end:   func() error { s.count(); return nil },
		drop:  s.count,
	})
	return func(m Message[T]) {
		s.in++
		s.works()
		s.out++
		next(m)
	}
}
