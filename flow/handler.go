package flow

import (
	"context"
	"time"
)

// Emit passes a message on. It may be called only during the call it was given to, and by that call's goroutine.
type Emit[T any] func(Message[T])

// Handler is what a stage does with each message. It owns the message until it returns: what it
// emitted of it shares its lease, what it holds (see Hold) keeps it, and if it did neither the
// message is done. When it returns nil what is left is acknowledged; an error goes to the fault
// policy, and what was emitted in the call is taken back (unless it was more than a chunk: then
// what had gone has gone, and a retry emits it again).
//
// A handler is used by one goroutine at a time. It is made afresh, by the factory given to Via, when the graph starts,
// when its region is restarted, and after it panicked.
type Handler[T, U any] interface {
	Handle(ctx context.Context, m Message[T], emit Emit[U]) error
}

// HandlerFunc is a Handler that is a function.
type HandlerFunc[T, U any] func(ctx context.Context, m Message[T], emit Emit[U]) error

// Handle calls f.
func (f HandlerFunc[T, U]) Handle(ctx context.Context, m Message[T], emit Emit[U]) error {
	return f(ctx, m, emit)
}

// Ender is a Handler with something left to do when its input has ended: to emit what it holds. An
// error or a panic is a failure of the stage.
type Ender[U any] interface {
	End(ctx context.Context, emit Emit[U]) error
}

// Alarm is a Handler that wants to be called at a time, even when no message arrives.
type Alarm[U any] interface {
	// Next returns when Ring shall be called; the zero time for not at all. It is asked after each message and ring.
	Next() time.Time
	// Ring is called when the time has come. An error or a panic is a failure of the stage.
	Ring(ctx context.Context, emit Emit[U]) error
}

// StepFunc handles a message that becomes at most one: it returns what becomes of it, and whether it goes on. It is the
// short form of a Handler, and a fast one: nothing is buffered. The message it returns is derived
// from the one it was given, or from one it held, or joined; of what it returns otherwise, the
// entry of the one it was given is what is settled.
type StepFunc[T, U any] func(ctx context.Context, m Message[T]) (Message[U], bool, error)

// Via makes a stage of a handler: the general way from one input to one output. make is called for each life of the
// stage, and for each worker, so state belongs into it.
func Via[T, U any](in Source[T], name string, make func() Handler[T, U], opts ...StageOption) Source[U] {
	n := newNode(kindVia, name, 1, opts)
	n.emits = true
	n.needs(make != nil, "make")
	return stage(in, n, func(la *lane, next func(Message[U])) func(Message[T]) {
		return newViaStage(la, la.run.stages[n], make, next).push
	})
}

// Step makes a stage of a StepFunc: the way for filters, and for maps that look at metadata. make is called as in Via.
func Step[T, U any](in Source[T], name string, make func() StepFunc[T, U], opts ...StageOption) Source[U] {
	n := newNode(kindVia, name, 1, opts)
	n.needs(make != nil, "make")
	return stage(in, n, func(la *lane, next func(Message[U])) func(Message[T]) {
		return newStepStage(la, la.run.stages[n], make, next).push
	})
}

// Transform makes a stage of a function from value to value: the fastest there is. make is called as in Via.
func Transform[T, U any](
	in Source[T], name string, make func() func(context.Context, T) (U, error), opts ...StageOption,
) Source[U] {
	n := newNode(kindVia, name, 1, opts)
	n.needs(make != nil, "make")
	return stage(in, n, func(la *lane, next func(Message[U])) func(Message[T]) {
		return newTransformStage(la, la.run.stages[n], make, next).push
	})
}

// stage wires a 1→1 stage: fused into the chain of what is downstream, or with boundaries around it.
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
