package flow

import (
	"context"
	"slices"
)

// Idea of batches: if a handler makes at most one message of each, its stage calls it in a tight
// loop, and passes the results on together. So hand-overs, the guard against panics and the
// counters cost once per batch. When a message fails, the results before it go on, the fault policy
// decides, and the loop continues with the same message or with the next.

// batchStage runs a function on each message of a batch.
type batchStage[T, U any] struct {
	stageBase
	next    func([]Message[U])
	results []Message[U] // not passed on yet

	// some handles messages until one fails. It adds to results, and keeps their number in handled.
	// If leased is true, it takes each message before it calls the handler.
	some    func(batch []Message[T], leased bool) error
	handled int
}

func (s *batchStage[T, U]) start(la *lane, st *stageRun, renew func(), next func([]Message[U])) {
	s.next, s.renew = next, renew
	s.init(la, st)
	s.hook(nil)
	s.la.hooks = append(s.la.hooks, hook{
		flush: func(bool) {
			s.passOn() // a message may wait, such as for a retry
			clear(s.results[:cap(s.results)])
		},
		drop: func() {
			giveBackTo(&la.dirty, s.results, false)
			s.results = nil
		},
	})
}

func (s *batchStage[T, U]) push(batch []Message[T]) {
	s.in += uint64(len(batch))
	leased, try := s.la.run.lanes.leased.Load(), s.try
	if s.traced.on {
		try = s.tryTraced
	}
	for tries := s.la.tried + 1; len(batch) > 0 && !s.la.aborted; {
		s.works()
		n, err := try(batch, leased)
		batch = batch[n:]
		if n > 0 {
			tries = 1
		}
		if err == nil {
			continue
		}
		if s.again(batch[0].lease, batch[0].meta, err, tries) {
			tries++
		} else {
			batch, tries = batch[1:], 1
		}
	}
	if len(batch) > 0 {
		s.in -= uint64(len(batch))
		giveBackTo(&s.la.dirty, batch, untouched(s.st.node))
	}
	if leased {
		s.begin(lease{})
	}
	s.passOn()
}

// passOn passes the results on. Stages downstream may wait meanwhile, which flushes the lane.
func (s *batchStage[T, U]) passOn() {
	results := s.results
	if len(results) == 0 {
		return
	}
	s.results = nil
	s.out += uint64(len(results))
	s.next(results)
	s.results = results[:0]
}

// again is the slow path: the fault policy and the wait for a retry. It reports false when the
// message is settled.
func (s *batchStage[T, U]) again(l lease, meta *record, err error, tries int) bool {
	s.endCall(true)
	if _, panicked := err.(*PanicError); panicked {
		s.dropHolds(nil)
		if !s.renewFor(l) {
			return false
		}
	}
	return s.retry(l, meta, err, tries)
}

// try handles messages until one fails: the n-th. If each call has a timeout, it handles one message.
// leased means that it takes each before it calls the handler.
func (s *batchStage[T, U]) try(batch []Message[T], leased bool) (n int, err error) {
	defer func() { n = s.handled }()
	defer Catch(&err)
	s.handled = 0
	if s.timeout > 0 {
		if leased && s.lost(batch[0].lease) {
			return 0, nil
		}
		outer := s.ctx
		ctx, cancel := context.WithTimeout(outer, s.timeout)
		defer func() {
			cancel()
			s.ctx = outer
		}()
		s.ctx, batch, leased = ctx, batch[:1], false
	}
	return 0, s.some(batch, leased)
}

// lost makes a message the work in progress. It reports true if the message is not to be handled,
// because its lease is lost.
func (s *batchStage[T, U]) lost(l lease) bool {
	if s.takes(l) {
		return false
	}
	s.in--
	s.handled++
	return true
}

// newStepStage runs a StepFunc.
func newStepStage[T, U any](
	la *lane, st *stageRun, newHandler func() StepFunc[T, U], next func([]Message[U]),
) *batchStage[T, U] {
	s := &batchStage[T, U]{}
	var f StepFunc[T, U]
	s.some = func(batch []Message[T], leased bool) error {
		f := f
		for i := range batch {
			if s.la.aborted {
				break
			}
			if leased && s.lost(batch[i].lease) {
				continue
			}
			m, goesOn, err := f(s.ctx, batch[i])
			if err != nil {
				return err
			}
			if in := batch[i].lease; !goesOn || !m.lease.same(in) || s.touched.Load() {
				m.lease = s.stepped(in, m.lease, goesOn)
			}
			if goesOn {
				s.results = append(s.results, m)
			}
			s.handled++
		}
		return nil
	}
	s.start(la, st, func() { f = newHandler() }, next)
	if st.node.around != nil {
		wrapSteps(s, newHandler, func() StepFunc[T, U] { return f })
	}
	return s
}

// newTransformStage runs a function from value to value.
func newTransformStage[T, U any](
	la *lane, st *stageRun, newHandler func() func(context.Context, T) (U, error), next func([]Message[U]),
) *batchStage[T, U] {
	if st.node.around != nil { // speed does not matter
		return newStepStage(la, st, func() StepFunc[T, U] { return asStep(newHandler()) }, next)
	}
	s := &batchStage[T, U]{}
	var f func(context.Context, T) (U, error)
	s.some = func(batch []Message[T], leased bool) error {
		f := f
		for i := range batch {
			if s.la.aborted {
				break
			}
			m := &batch[i]
			if leased && s.lost(m.lease) {
				continue
			}
			v, err := f(s.ctx, m.Value)
			if err != nil {
				return err
			}
			s.results = append(s.results, Message[U]{Value: v, meta: m.meta, lease: m.lease})
			s.handled++
		}
		return nil
	}
	s.start(la, st, func() { f = newHandler() }, next)
	return s
}

// pushAll pushes a chunk in batches, between which the lane reads the clock. If the lane is aborted
// or panics, messages that have not been pushed go back.
func pushAll[T any](la *lane, chunk []Message[T], push func([]Message[T])) {
	la.beginChunk()
	defer func() { giveBack(la, chunk) }()
	for len(chunk) > 0 && !la.aborted {
		n := min(la.untilLook(), len(chunk))
		batch := chunk[:n]
		chunk = chunk[n:]
		pushSome(la, batch, push)
	}
}

// pushSome pushes messages that are handled without a look at the clock, unless their leases are
// lost.
func pushSome[T any](la *lane, batch []Message[T], push func([]Message[T])) {
	if la.run.lanes.lost.Load() {
		batch = slices.DeleteFunc(batch, func(m Message[T]) bool {
			lost := m.lease.isLost()
			if lost {
				la.nack(m.lease)
			}
			return lost
		})
	}
	push(batch)
	if !la.aborted {
		la.step(len(batch))
	}
}

// each calls f with each message. If the lane is aborted, the remaining messages go back.
func each[T any](s *stageBase, batch []Message[T], f func(Message[T])) {
	leased := s.la.run.lanes.leased.Load()
	for i := range batch {
		if s.la.aborted {
			giveBackTo(&s.la.dirty, batch[i:], untouched(s.st.node))
			return
		}
		if !leased || s.takes(batch[i].lease) {
			f(batch[i])
		}
	}
	if leased {
		s.begin(lease{})
	}
}
