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
// to pass it on. It is the short and fast form of a Handler, because nothing is buffered. The
// returned message must be derived from the given one, from a held one, or be a join. For any other
// returned message, the entry of the given message is settled.
type StepFunc[T, U any] func(ctx context.Context, m Message[T]) (Message[U], bool, error)

// Via makes a stage from a handler. It is the general form of a stage with one input and one
// output. newHandler is called for each life of the stage and for each worker, so keep state in its
// result.
func Via[T, U any](in Source[T], name string, newHandler func() Handler[T, U], opts ...StageOption) Source[U] {
	n := newNode(kindVia, name, 1, opts)
	n.emits = true
	n.needs(newHandler != nil, "newHandler")
	return stage(in, n, func(la *lane, next func(Message[U])) func(Message[T]) {
		return newViaStage(la, la.run.stages[n], newHandler, next).push
	})
}

// Step makes a stage from a StepFunc, for filters and for maps that read metadata. newHandler is
// called as in Via.
func Step[T, U any](in Source[T], name string, newHandler func() StepFunc[T, U], opts ...StageOption) Source[U] {
	n := newNode(kindVia, name, 1, opts)
	n.needs(newHandler != nil, "newHandler")
	return stage(in, n, func(la *lane, next func(Message[U])) func(Message[T]) {
		return newStepStage(la, la.run.stages[n], newHandler, next).push
	})
}

// Transform makes a stage from a function from value to value. It is the fastest kind of stage.
// newHandler is called as in Via.
func Transform[T, U any](
	in Source[T], name string, newHandler func() func(context.Context, T) (U, error), opts ...StageOption,
) Source[U] {
	n := newNode(kindVia, name, 1, opts)
	n.needs(newHandler != nil, "newHandler")
	return stage(in, n, func(la *lane, next func(Message[U])) func(Message[T]) {
		return newTransformStage(la, la.run.stages[n], newHandler, next).push
	})
}

// stage wires a stage with one input and one output: fused into the downstream chain, or with
// boundaries around it.
func stage[T, U any](in Source[T], n *node, open func(*lane, func(Message[U])) func(Message[T])) Source[U] {
	reads(n, in)
	key, ok := n.keyedBy.(keyer[T])
	n.checkKeyer(ok, "the stage's input type")
	return newSource(n, 0, func(b *builder, to chain[U]) {
		if n.workers > 1 {
			in.out.link(b, parallel(b, n, key, open, to))
			return
		}
		own := chain[T]{
			open:  func(la *lane) func(Message[T]) { return open(la, to.open(la)) },
			done:  to.done,
			nodes: append([]*node{n}, to.nodes...),
		}
		if n.async && !in.out.node.endsInEdge() {
			e := edgeTo(b, n, own)
			own = e.sender()
		}
		in.out.link(b, own)
	})
}
