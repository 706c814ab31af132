package flow

import (
	"context"
	"time"
)

// turn runs the calls of a handler that emits. The output is buffered until the handler returns.
// Only then is the number of messages that share the lease known, and a failed call can take its
// output back. Stages with one output, with many, and with two of different types are turns with
// different buffers.
type turn struct {
	stageBase
	cur    lease   // lease of the message being handled
	shares int32   // buffered messages emitted in this call with that lease
	others []lease // leases of other emitted messages; each owns a share made for it

	renew   func() // makes a new handler
	passOn  func() // pushes the buffers downstream and empties them
	discard func() // empties the buffers
}

// handle runs the handler on one message, with all retries, and settles or passes on its share.
func (t *turn) handle(l lease, meta *Meta, call func(context.Context) error) {
	t.in++
	t.works()
	for tries := t.la.tried + 1; ; tries++ {
		t.cur = l
		err := t.guard(call)
		if err == nil {
			t.forward(false)
			return
		}
		t.undo()
		if _, panicked := err.(*PanicError); panicked { // its state cannot be trusted, so its holds go back
			t.dropHolds(nil)
			t.renewFor(l, t.renew)
			t.st.restarts.Add(1)
		}
		if !t.retry(l, meta, err, tries) {
			return
		}
	}
}

// apart makes a call without a message, such as End.
func (t *turn) apart(call func(context.Context) error) error {
	t.works()
	if err := t.guard(call); err != nil {
		t.undo()
		return err
	}
	t.forward(false)
	return nil
}

// emitted accounts for a message that will be buffered, and returns its lease.
func (t *turn) emitted(l lease) lease {
	t.out++
	switch {
	case l.none():
	case l.same(t.cur):
		t.shares++
	case l.share(1):
		t.others = append(t.others, l)
	default:
		return lease{} // kept beyond its handler without a hold, and settled meanwhile
	}
	return l
}

// forward distributes the message's own share, and new shares, to the buffered messages and passes
// these on. With keep, the handler keeps its own share, because it has filled a chunk but is not
// done.
func (t *turn) forward(keep bool) {
	if !t.cur.none() {
		switch n := t.shares; {
		case keep && n > 0:
			t.cur.share(n)
		case keep || n == 1:
		case n == 0:
			t.cur.release(Acked, nil, &t.la.dirty)
		default:
			t.cur.share(n - 1)
		}
	}
	t.shares, t.others = 0, t.others[:0]
	if !keep {
		t.cur = lease{}
		t.endCall(false)
	}
	t.passOn()
	t.works() // again, after the stages downstream
}

// undo takes back messages that the failed call has emitted and that were not passed on.
func (t *turn) undo() {
	for _, l := range t.others {
		// It may be the last share, if the handler has ended its hold. Then an ack would lose the
		// entry.
		l.release(Nacked, nil, &t.la.dirty)
	}
	t.cur, t.shares, t.others = lease{}, 0, t.others[:0]
	t.endCall(true)
	t.discard()
}

func (t *turn) hook(end func() error) {
	t.la.hooks = append(t.la.hooks, hook{
		open:  func() error { t.renew(); return nil },
		flush: func(bool) { t.count() },
		end: func() error {
			if end != nil {
				if err := end(); err != nil {
					return err
				}
			}
			t.endHolds()
			t.count()
			return nil
		},
		drop: func() {
			t.noHolds()
			t.count()
		},
	})
}

// emitting is a turn whose output is one stream. Handlers with one input and with several use it.
type emitting[U any] struct {
	turn
	next func(Message[U])
	buf  []Message[U]
	emit Emit[U]
}

func (s *emitting[U]) start(la *lane, st *stageRun, next func(Message[U])) {
	s.init(la, st)
	s.next = next
	s.passOn, s.discard = s.pushAll, s.clear
	s.emit = func(m Message[U]) {
		m.lease = s.emitted(m.lease)
		if s.buf = append(s.buf, m); len(s.buf) >= defaultChunk {
			s.forward(true)
		}
	}
}

func (s *emitting[U]) pushAll() {
	for i := range s.buf {
		s.next(s.buf[i])
	}
	s.clear()
}

func (s *emitting[U]) clear() {
	clear(s.buf)
	s.buf = s.buf[:0]
}

// end calls a handler's End, if it is an Ender.
func (s *emitting[U]) end(handler any) error {
	e, ok := optional[Ender[U]](handler)
	if !ok {
		return nil
	}
	return s.apart(func(ctx context.Context) error { return e.End(ctx, s.emit) })
}

// alarm registers a handler's alarm with the lane, if it has one. handler returns the current
// handler.
func (s *emitting[U]) alarm(handler func() any) {
	s.rings(
		func() alarmed { return find[Alarm[U]](handler()) },
		func(ctx context.Context) error {
			a, _ := optional[Alarm[U]](handler())
			return a.Ring(ctx, s.emit)
		})
}

// alarmed is the common interface of the alarms of all kinds of handlers.
type alarmed interface{ Next() time.Time }

// find returns a handler's alarm. It returns nil for a handler without one.
func find[A alarmed](handler any) alarmed {
	if a, ok := optional[A](handler); ok {
		return a
	}
	return nil
}

// rings registers an alarm with the lane. find returns the alarm of the current handler, and ring
// calls it.
func (t *turn) rings(find func() alarmed, ring func(context.Context) error) {
	t.la.alarms = append(t.la.alarms, alarm{
		next: func() time.Time {
			if a := find(); a != nil {
				return a.Next()
			}
			return time.Time{}
		},
		ring: func() error { return t.apart(ring) },
	})
}

// viaStage runs a Handler.
type viaStage[T, U any] struct {
	emitting[U]
	h Handler[T, U]
}

func newViaStage[T, U any](
	la *lane, st *stageRun, newHandler func() Handler[T, U], next func(Message[U]),
) *viaStage[T, U] {
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
