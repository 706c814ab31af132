package flow

import (
	"context"
	"time"
)

// Emit passes a message on. It may be called only during the call that received it, and only by the
// goroutine of that call.
type Emit[T any] func(Message[T])

// A Handler processes each message of a stage. It owns the message until it returns. Messages it
// emitted from it share its lease, and a hold (see Hold) keeps the lease. If the handler did
// neither, the message is done. When Handle returns nil, the remaining share is acknowledged. When
// it returns an error, the fault policy decides, and the messages emitted in the call are taken
// back. Exception: full chunks that have already gone on cannot be taken back, and a retry emits
// them again.
//
// A handler is used by one goroutine at a time. The factory given to Via makes a new one when the
// graph starts, when its region is restarted, and after it panicked.
type Handler[T, U any] interface {
	Handle(ctx context.Context, m Message[T], emit Emit[U]) error
}

// HandlerFunc is a Handler that is a function.
type HandlerFunc[T, U any] func(ctx context.Context, m Message[T], emit Emit[U]) error

// Handle calls f.
func (f HandlerFunc[T, U]) Handle(ctx context.Context, m Message[T], emit Emit[U]) error {
	return f(ctx, m, emit)
}

// Ender is a Handler with work to do when its input has ended, such as emitting the messages it
// holds. An error or a panic is a failure of the stage.
type Ender[U any] interface {
	End(ctx context.Context, emit Emit[U]) error
}

// Alarm is a Handler that must be called at a certain time, even if no message arrives.
type Alarm[U any] interface {
	// Next returns when to call Ring; the zero time means never. It is called after each message
	// and after each Ring.
	Next() time.Time
	// Ring is called when the time has come. An error or a panic is a failure of the stage.
	Ring(ctx context.Context, emit Emit[U]) error
}

// StepFunc handles a message that becomes at most one message. It returns that message and whether
// to pass it on. It is the short and fast form of a Handler. While messages are quick, it handles up
// to 64 of them before the next stage receives the first. The returned message must be derived from
// the given one, from a held one, or be a join. For any other returned message, the entry of the
// given message is settled.
type StepFunc[T, U any] func(ctx context.Context, m Message[T]) (Message[U], bool, error)

// Via makes a stage from a handler. It is the general form of a stage with one input and one
// output. Each life of the stage and each worker calls newHandler, so keep state in its result.
func Via[T, U any](in Source[T], name string, newHandler func() Handler[T, U], opts ...StageOption) Source[U] {
	n := newVia(name, newHandler != nil, opts)
	n.emits = true
	return stage(in, n, func(la *lane, st *stageRun, next func([]Message[U])) func([]Message[T]) {
		return newViaStage(la, st, newHandler, next).push
	})
}

// Step makes a stage from a StepFunc, for filters and for maps that read metadata. newHandler is
// called as in Via.
func Step[T, U any](in Source[T], name string, newHandler func() StepFunc[T, U], opts ...StageOption) Source[U] {
	n := newVia(name, newHandler != nil, opts)
	return stage(in, n, func(la *lane, st *stageRun, next func([]Message[U])) func([]Message[T]) {
		return newStepStage(la, st, newHandler, next).push
	})
}

// Transform makes a stage from a function from value to value. It is the fastest kind of stage.
// newHandler is called as in Via.
func Transform[T, U any](
	in Source[T], name string, newHandler func() func(context.Context, T) (U, error), opts ...StageOption,
) Source[U] {
	n := newVia(name, newHandler != nil, opts)
	return stage(in, n, func(la *lane, st *stageRun, next func([]Message[U])) func([]Message[T]) {
		return newTransformStage(la, st, newHandler, next).push
	})
}

func newVia(name string, handler bool, opts []StageOption) *node {
	n := newNode(kindVia, name, 1, opts)
	n.needs(handler, "newHandler")
	return n
}

// stage wires a stage with one input and one output: fused into the downstream chain, or with
// boundaries around it.
func stage[T, U any](
	in Source[T], n *node, open func(*lane, *stageRun, func([]Message[U])) func([]Message[T]),
) Source[U] {
	reads(n, in)
	key := keyerOf[T](n, "the stage's input type")
	return newSource(n, 0, func(b *builder, to chain[U]) {
		if n.workers > 1 {
			in.out.link(b, parallel(b, n, key, open, to))
			return
		}
		own := chain[T]{
			open:  func(la *lane) func([]Message[T]) { return open(la, b.run.stages[n], to.open(la)) },
			done:  to.done,
			nodes: append([]*node{n}, to.nodes...),
		}
		linkTo(b, in, n, own)
	})
}

// linkTo links a stage's input to its chain, with an edge between them if Async asks for one.
func linkTo[T any](b *builder, in Source[T], n *node, own chain[T]) {
	if n.async && !in.out.node.endsInEdge() {
		own = edgeTo(b, n, own).sender()
	}
	in.out.link(b, own)
}

// turn runs the calls of a handler that emits. The output is buffered until the handler returns.
// Only then is the number of messages that share the lease known, and a failed call can take its
// output back. Stages with one output, with many, and with two of different types are turns with
// different buffers.
type turn struct {
	stageBase
	cur    lease   // lease of the message being handled
	shares int32   // buffered messages emitted in this call with that lease
	kept   bool    // messages emitted in this call have gone on already
	others []lease // leases of other emitted messages; each owns a share made for it

	outputs []buffer

	forwarder func() // see passOn
}

// buffer is the buffer of one output, or of several.
type buffer interface {
	pushAll() // pushes the messages downstream and empties the buffer
	clear()   // empties the buffer
}

// handle runs the handler on one message, with all retries, and settles or passes on its share.
func (t *turn) handle(l lease, meta *record, call func(context.Context) error) {
	t.in++
	t.works()
	if t.traced.on {
		t.traced.span = l.span()
	}
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
			if !t.renewFor(l) {
				return
			}
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
	t.traced.span = nil
	if t.forwarder == nil {
		t.forwarder = func() { t.forward(false) }
	}
	t.passOn = t.forwarder
	err := t.guard(call)
	t.passOn = nil
	if err != nil {
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
			t.cur.split(n)
			t.kept = true
		case keep || n == 1:
		case n == 0:
			t.la.ack(t.cur)
			if t.kept { // its own share became none of the messages that it emitted before
				t.cur.uncount()
			}
		default:
			t.cur.split(n - 1)
		}
	}
	t.shares, t.others = 0, t.others[:0]
	if !keep {
		t.cur, t.kept = lease{}, false
		t.endCall(false)
	}
	for _, out := range t.outputs {
		out.pushAll()
	}
	t.works() // again, after the stages downstream
}

// undo takes back messages that the failed call has emitted and that were not passed on.
func (t *turn) undo() {
	for _, l := range t.others {
		// It may be the last share, if the handler has ended its hold. Then an ack would lose the
		// entry.
		t.la.nack(l)
	}
	t.cur, t.kept, t.shares, t.others = lease{}, false, 0, t.others[:0]
	t.endCall(true)
	for _, out := range t.outputs {
		out.clear()
	}
}

// output is one output of a turn.
type output[U any] struct {
	next func([]Message[U])
	buf  []Message[U]
}

// emitTo adds an output to the turn, and returns the function that emits to it.
func emitTo[U any](t *turn, next func([]Message[U])) Emit[U] {
	o := &output[U]{next: next}
	t.outputs = append(t.outputs, o)
	return func(m Message[U]) {
		m.lease = t.emitted(m.lease)
		if o.buf = append(o.buf, m); len(o.buf) >= defaultChunk {
			t.forward(true)
		}
	}
}

func (o *output[U]) pushAll() {
	if len(o.buf) > 0 {
		o.next(o.buf)
		o.clear()
	}
}

func (o *output[U]) clear() {
	clear(o.buf)
	o.buf = o.buf[:0]
}

// emitting is a turn with one output stream. Handlers with one input and with several use it.
type emitting[U any] struct {
	turn
	emit Emit[U]
}

func (s *emitting[U]) start(la *lane, st *stageRun, next func([]Message[U])) {
	s.init(la, st)
	s.emit = emitTo(&s.turn, next)
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
	h          Handler[T, U]
	newHandler func() Handler[T, U]
	handling[T]
}

// handling is the message that a stage handles. The call is made once, so that messages cost no
// allocation.
type handling[T any] struct {
	m    Message[T]
	call func(context.Context) error // handles m
	one  func(Message[T])            // calls it, with retries
}

// calls sets the call of a stage.
func (c *handling[T]) calls(t *turn, call func(context.Context) error) {
	c.call = call
	c.one = func(m Message[T]) {
		c.m = m
		t.handle(m.lease, m.meta, c.call)
		c.m = Message[T]{}
	}
}

func newViaStage[T, U any](
	la *lane, st *stageRun, newHandler func() Handler[T, U], next func([]Message[U]),
) *viaStage[T, U] {
	s := &viaStage[T, U]{newHandler: newHandler}
	s.start(la, st, next)
	s.renew = func() { s.h = newHandler() }
	s.hook(func() error { return s.end(s.h) })
	s.alarm(func() any { return s.h })
	s.calls(&s.turn, func(ctx context.Context) error { return s.h.Handle(ctx, s.m, s.emit) })
	return s
}

func (s *viaStage[T, U]) push(ms []Message[T]) {
	if s.st.node.around != nil {
		s.pushWrapped(ms)
		return
	}
	each(&s.stageBase, ms, s.one)
}
