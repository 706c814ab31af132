package flow

// collect is the collector. It pushes the output of finished tasks down the chain.
func (s *poolRun[T, U]) collect() error {
	la := s.lane()
	push := s.to.open(la)
	return la.live(func() error {
		close(s.opened)
		for {
			t, err := s.finished(la)
			if t == nil {
				return err
			}
			out := t.out
			t.out = nil
			pushAll(la, out, push)
			la.dirty.tell()
			if t.extra {
				continue
			}
			loose := t.loose
			clear(out)
			*t = task[T, U]{in: t.used, out: out[:0], done: t.done}
			select {
			case s.free <- t:
			default:
			}
			s.through(loose)
		}
	})
}

// finished returns the next finished task. It returns nil at the end or with an error.
func (s *poolRun[T, U]) finished(la *lane) (*task[T, U], error) {
	for !la.aborted {
		if err := la.ring(); err != nil {
			return nil, err
		}
		if s.waiting == nil {
			t, ok, again := receive(la, s.done)
			switch {
			case again:
				continue
			case !ok:
				return nil, nil
			case s.mode != ordered:
				return t, nil
			}
			s.waiting = t
		}
		if _, ok, again := receive(la, s.waiting.done); ok && !again {
			t := s.waiting
			s.waiting = nil
			return t, nil
		}
	}
	return nil, nil
}
