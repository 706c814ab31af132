package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// Map turns each value into another. If f returns an error, the fault policy decides on the
// message. With flow.Workers f is called on several goroutines at once.
//
//	in   --1---2---3---|
//	out  --10--20--30--|  v -> 10*v
//
// Order: kept; with flow.KeyedBy kept within a key, with flow.Unordered not. Acks: carried by the output.
// Holds: nothing. Ends: when in ends.
func Map[T, U any](in flow.Source[T], f func(context.Context, T) (U, error), opts ...flow.StageOption) flow.Source[U] {
	make := func() func(context.Context, T) (U, error) { return f }
	return flow.Transform(in, "map", make, with(opts, stateless, function("f", f != nil))...)
}

// MapMessage is Map with id, key, headers, time and attempt. The output keeps the message's metadata.
//
//	in   --1----2----3----|
//	out  --a1---b2---b3---|  (m.Key(), v)
//
// Order: kept; with flow.KeyedBy kept within a key, with flow.Unordered not. Acks: carried by the output.
// Holds: nothing. Ends: when in ends.
func MapMessage[T, U any](
	in flow.Source[T], f func(context.Context, flow.Message[T]) (U, error), opts ...flow.StageOption,
) flow.Source[U] {
	return flow.Step(in, "map-message", func() flow.StepFunc[T, U] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[U], bool, error) {
			v, err := f(ctx, m)
			return flow.Derive(m, v), true, err
		}
	}, with(opts, stateless, function("f", f != nil))...)
}

// FlatMap turns each value into any number of others. f passes them on with emit, which it may call
// only until it returns, and only on its own goroutine. When f fails, what it has emitted is
// withdrawn. If it was more than a chunk, the full chunks have been passed on already, and a retry
// emits them again.
//
//	in   --1--3------0--2----|
//	out  --1--3-3-3-----2-2--|  v -> v times v
//
// Order: kept; with flow.KeyedBy kept within a key, with flow.Unordered not. Acks: an entry is
// acked when all outputs are.
// Holds: what one call emits, up to a chunk. Ends: when in ends.
func FlatMap[T, U any](
	in flow.Source[T], f func(ctx context.Context, v T, emit func(U)) error, opts ...flow.StageOption,
) flow.Source[U] {
	return flow.Via(in, "flat-map", func() flow.Handler[T, U] {
		h := &flatMap[T, U]{f: f}
		h.pass = func(v U) {
			if h.emit == nil {
				panic("operators: FlatMap: emit was called after f returned")
			}
			h.emit(flow.Derive(h.m, v))
		}
		return h
	}, with(opts, stateless, function("f", f != nil))...)
}

// flatMap keeps the current message, so that one emit function serves all calls.
type flatMap[T, U any] struct {
	f    func(context.Context, T, func(U)) error
	pass func(U)
	m    flow.Message[T]
	emit flow.Emit[U]
}

func (h *flatMap[T, U]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[U]) error {
	h.m, h.emit = m, emit
	err := h.f(ctx, m.Value, h.pass)
	h.m, h.emit = flow.Message[T]{}, nil
	return err
}

// Filter passes on the values for which keep is true. The other messages are done: their entries
// are acknowledged.
//
//	in   --1--2--3--4--|
//	out  -----2-----4--|  even
//
// Order: kept; with flow.KeyedBy kept within a key, with flow.Unordered not. Acks: carried by what
// passes; the rest is done here.
// Holds: nothing. Ends: when in ends.
func Filter[T any](
	in flow.Source[T], keep func(context.Context, T) (bool, error), opts ...flow.StageOption,
) flow.Source[T] {
	return flow.Step(in, "filter", func() flow.StepFunc[T, T] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			ok, err := keep(ctx, m.Value)
			return m, ok, err
		}
	}, with(opts, stateless, function("keep", keep != nil))...)
}

// FilterMap is Filter and Map in one. f returns the new value and whether to pass it on.
//
//	in   --1--2---3--4---|
//	out  -----20-----40--|  10*v, if v is even
//
// Order: kept; with flow.KeyedBy kept within a key, with flow.Unordered not. Acks: carried by what
// passes; the rest is done here.
// Holds: nothing. Ends: when in ends.
func FilterMap[T, U any](
	in flow.Source[T], f func(context.Context, T) (U, bool, error), opts ...flow.StageOption,
) flow.Source[U] {
	return flow.Step(in, "filter-map", func() flow.StepFunc[T, U] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[U], bool, error) {
			v, ok, err := f(ctx, m.Value)
			return flow.Derive(m, v), ok, err
		}
	}, with(opts, stateless, function("f", f != nil))...)
}

// Tap calls f with each value and passes it on unchanged. It is for logs, counters and tests. A
// message fails only if f panics. The stream waits for f, so a slow f slows it down. Do not write
// through pointers in the value.
//
//	in   --1--2--3--|
//	out  --1--2--3--|  and f(1), f(2), f(3)
//
// Order: kept; with flow.KeyedBy kept within a key, with flow.Unordered not. Acks: carried by the output.
// Holds: nothing. Ends: when in ends.
func Tap[T any](in flow.Source[T], f func(context.Context, T), opts ...flow.StageOption) flow.Source[T] {
	return flow.Step(in, "tap", func() flow.StepFunc[T, T] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			f(ctx, m.Value)
			return m, true, nil
		}
	}, with(opts, stateless, function("f", f != nil))...)
}
