package flow

import "context"

// stepStage runs a StepFunc.
type stepStage[T, U any] struct {
	stageBase
	make func() StepFunc[T, U]
	f    StepFunc[T, U]
	next func(Message[U])
}

func newStepStage[T, U any](la *lane, st *stageRun, make func() StepFunc[T, U], next func(Message[U])) *stepStage[T, U] {
	s := &stepStage[T, U]{make: make, next: next}
	s.init(la, st)
	la.hooks = append(la.hooks, hook{
		open:  func() error { s.f = make(); return nil },
		flush: func(bool) { s.count() },
		end:   func() error { s.over(); return nil },
		drop:  s.over,
	})
	return s
}

func (s *stepStage[T, U]) over() {
	s.dropHolds()
	s.count()
}

func (s *stepStage[T, U]) push(m Message[T]) {
	s.in++
	out, goesOn, err := s.call(m)
	if err != nil {
		if out, goesOn, err = s.again(m, err); err != nil {
			return
		}
	}
	if len(s.joined) > 0 {
		s.endJoins(Acked)
	}
	if !goesOn {
		m.lease.release(Acked, nil, &s.la.news)
		return
	}
	s.out++
	if out.lease != m.lease { // made anew instead of derived: it has no lease of its own to keep alive
		out.lease = m.lease
	}
	s.next(out)
}

func (s *stepStage[T, U]) call(m Message[T]) (out Message[U], goesOn bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	if s.timeout > 0 {
		ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
		defer cancel()
		return s.f(ctx, m)
	}
	return s.f(s.ctx, m)
}

// again is the slow path: the fault policy, and the retries it asks for. The message is settled when it returns an error.
func (s *stepStage[T, U]) again(m Message[T], err error) (out Message[U], goesOn bool, _ error) {
	for tries := s.la.tried + 1; ; tries++ {
		s.endJoins(Nacked)
		if _, panicked := err.(*PanicError); panicked {
			s.dropHolds()
			s.renewFor(m.lease)
		}
		if !s.retry(m.lease, m.metaRef(), err, tries) {
			return out, false, err
		}
		if out, goesOn, err = s.call(m); err == nil {
			return out, goesOn, nil
		}
	}
}

func (s *stepStage[T, U]) renewFor(l lease) {
	defer func() {
		if v := recover(); v != nil {
			l.release(Nacked, nil, &s.la.news)
			panic(v)
		}
	}()
	s.f = s.make()
}
