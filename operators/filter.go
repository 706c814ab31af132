package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

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
	}, with(opts, function("keep", keep != nil))...)
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
	}, with(opts, function("f", f != nil))...)
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
	}, with(opts, function("f", f != nil))...)
}
