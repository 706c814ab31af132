package flow

import "context"

// oneStage is the common part of stepStage and transformStage: a function for a message that
// becomes at most one, and the slow path for failed calls.
type oneStage struct {
	stageBase
	renew func() // makes a new function
}

func (s *oneStage) start(la *lane, st *stageRun, renew func()) {
	s.init(la, st)
	s.renew = renew
	la.hooks = append(la.hooks, hook{
		open:  func() error { s.renew(); return nil },
		flush: func(bool) { s.count() },
		end: func() error {
			s.endHolds()
			s.count()
			return nil
		},
		drop: func() {
			s.noHolds()
			s.count()
		},
	})
}

// again is the slow path: the fault policy and the retries. It reports false when the message is
// settled.
func (s *oneStage) again(l lease, meta *Meta, err error, call func() error) bool {
	for tries := s.la.tried + 1; err != nil; tries++ {
		s.endCall(true)
		if _, panicked := err.(*PanicError); panicked {
			s.dropHolds(nil)
			s.renewFor(l, s.renew)
		}
		if !s.retry(l, meta, err, tries) {
			return false
		}
		err = call()
	}
	return true
}

// stepStage runs a StepFunc.
type stepStage[T, U any] struct {
	oneStage
	f    StepFunc[T, U]
	next func(Message[U])
}

func newStepStage[T, U any](
	la *lane, st *stageRun, newHandler func() StepFunc[T, U], next func(Message[U]),
) *stepStage[T, U] {
	s := &stepStage[T, U]{next: next}
	s.start(la, st, func() { s.f = newHandler() })
	return s
}

func (s *stepStage[T, U]) push(m Message[T]) {
	s.in++
	s.works()
	out, goesOn, err := s.call(m)
	if err != nil && !s.again(m.lease, m.metaRef(), err, func() error {
		out, goesOn, err = s.call(m)
		return err
	}) {
		return
	}
	same := out.lease.same(m.lease) // else it was joined, or held and is now passed on
	if goesOn && !same && !out.lease.none() && out.lease.share(1) {
		s.la.ack(m.lease)
	} else {
		if !same {
			out.lease = m.lease // the message was not derived
		}
		if !goesOn {
			s.la.ack(m.lease)
		}
	}
	if s.touched.Load() {
		s.endCall(false)
	}
	if goesOn {
		s.out++
		s.next(out)
	}
}

func (s *stepStage[T, U]) call(m Message[T]) (out Message[U], goesOn bool, err error) {
	defer Catch(&err)
	ctx := s.ctx
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	return s.f(ctx, m)
}

// transformStage runs a function from value to value.
type transformStage[T, U any] struct {
	oneStage
	f    func(context.Context, T) (U, error)
	next func(Message[U])
}

func newTransformStage[T, U any](
	la *lane, st *stageRun, newHandler func() func(context.Context, T) (U, error), next func(Message[U]),
) *transformStage[T, U] {
	s := &transformStage[T, U]{next: next}
	s.start(la, st, func() { s.f = newHandler() })
	return s
}

func (s *transformStage[T, U]) push(m Message[T]) {
	s.in++
	s.works()
	v, err := s.call(m.Value)
	if err != nil {
		s.slow(m, err)
		return
	}
	s.out++
	s.next(Message[U]{Value: v, meta: m.meta, lease: m.lease})
}

func (s *transformStage[T, U]) slow(m Message[T], err error) {
	var v U
	if s.again(m.lease, m.metaRef(), err, func() error {
		v, err = s.call(m.Value)
		return err
	}) {
		s.out++
		s.next(Derive(m, v))
	}
}

func (s *transformStage[T, U]) call(v T) (u U, err error) {
	defer Catch(&err)
	ctx := s.ctx
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	return s.f(ctx, v)
}
