package flow

import "context"

// viaStage runs a Handler.
type viaStage[T, U any] struct {
	emitting[U]
	h Handler[T, U]
}

func newViaStage[T, U any](la *lane, st *stageRun, newHandler func() Handler[T, U], next func(Message[U])) *viaStage[T, U] {
	s := &viaStage[T, U]{}
	s.start(la, st, next)
	s.renew = func() { s.h = newHandler() }
	s.hook(func() error { return s.end(s.h) })
	s.alarm(func() any { return s.h })
	return s
}

func (s *viaStage[T, U]) push(m Message[T]) {
	s.handle(m.lease, m.metaRef(), func(ctx context.Context) error { return s.h.Handle(ctx, m, s.emit) })
}
