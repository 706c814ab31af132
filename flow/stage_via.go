package flow

import (
	"context"
	"time"
)

// viaStage runs a Handler.
type viaStage[T, U any] struct {
	turn
	h    Handler[T, U]
	next func(Message[U])
	buf  []Message[U]
	emit Emit[U]
}

func newViaStage[T, U any](la *lane, st *stageRun, make func() Handler[T, U], next func(Message[U])) *viaStage[T, U] {
	s := &viaStage[T, U]{next: next}
	s.init(la, st)
	s.renew = func() { s.h = make() }
	s.passOn, s.discard = s.pushAll, s.clear
	s.emit = func(m Message[U]) {
		m.lease = s.emitted(m.lease)
		if s.buf = append(s.buf, m); len(s.buf) >= defaultChunk {
			s.forward(true)
		}
	}
	s.hook(s.end)
	s.alarm()
	return s
}

func (s *viaStage[T, U]) push(m Message[T]) {
	s.handle(m.lease, m.metaRef(), func(ctx context.Context) error { return s.h.Handle(ctx, m, s.emit) })
}

func (s *viaStage[T, U]) pushAll() {
	for i := range s.buf {
		s.next(s.buf[i])
	}
	s.clear()
}

func (s *viaStage[T, U]) clear() {
	clear(s.buf)
	s.buf = s.buf[:0]
}

func (s *viaStage[T, U]) end() error {
	e, ok := s.h.(Ender[U])
	if !ok {
		return nil
	}
	return s.apart(func(ctx context.Context) error { return e.End(ctx, s.emit) })
}

// alarm lets the lane know of the handler's alarm, if it is one.
func (s *viaStage[T, U]) alarm() {
	s.la.alarms = append(s.la.alarms, alarm{
		next: func() time.Time {
			if a, ok := s.h.(Alarm[U]); ok {
				return a.Next()
			}
			return time.Time{}
		},
		ring: func() error {
			return s.apart(func(ctx context.Context) error { return s.h.(Alarm[U]).Ring(ctx, s.emit) })
		},
	})
}
