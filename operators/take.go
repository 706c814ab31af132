package operators

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// Take passes on the first n messages and then ends. Sources that no other stage needs stop reading
// (see flow.Finish), so the graph ends when nothing else keeps it running. The messages behind the
// n-th go back to their source if it has stopped and can deliver them again, so no entry is lost.
// Otherwise they are done, as if they were filtered out. A restarted stage that had not finished
// counts from zero. If n is 0, Take ends with the first message.
//
//	in   --1--2--3--4--
//	out  --1--2|  n = 2
//
// Order: kept. Acks: carried by what passes; the rest goes back or is done.
// Holds: nothing. Ends: after n messages, or when in ends.
func Take[T any](in flow.Source[T], n int, opts ...flow.StageOption) flow.Source[T] {
	return flow.Step(in, "take", func() flow.StepFunc[T, T] {
		left := n
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			if left <= 0 {
				return m, false, flow.Finish(ctx)
			}
			if left--; left == 0 {
				_ = flow.Finish(ctx) // the verdict is for the messages behind this one
			}
			return m, true, nil
		}
	}, with(opts, notNegative("n", n, "messages"), oneCount)...)
}

// TakeWhile passes on messages until f returns false. Then it ends as Take does. The message for
// which f returned false is the first of those that go back or are done. An error or a panic of f is
// a fault of the message.
//
//	in   --1--2--9--1--
//	out  --1--2--|  f returns false for 9
//
// Order: kept. Acks: carried by what passes; the rest goes back or is done.
// Holds: nothing. Ends: at the first message for which f returns false, or when in ends.
func TakeWhile[T any](in flow.Source[T], f func(T) bool, opts ...flow.StageOption) flow.Source[T] {
	return flow.Step(in, "take-while", func() flow.StepFunc[T, T] {
		over := false
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			if !over {
				yes, err := calm(m.Value, f)
				if err != nil {
					return m, false, fmt.Errorf("operators: take-while: %w", err)
				}
				over = !yes
			}
			if over {
				return m, false, flow.Finish(ctx)
			}
			return m, true, nil
		}
	}, with(opts, function("f", f != nil), oneCount)...)
}

// Drop drops the first n messages. They are done. A restarted stage counts from zero.
//
//	in   --1--2--3--4--|
//	out  --------3--4--|  n = 2
//
// Order: kept. Acks: carried by what passes; the rest is done here.
// Holds: nothing. Ends: when in ends.
func Drop[T any](in flow.Source[T], n int, opts ...flow.StageOption) flow.Source[T] {
	return flow.Step(in, "drop", func() flow.StepFunc[T, T] {
		left := n
		return func(_ context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			if left > 0 {
				left--
				return m, false, nil
			}
			return m, true, nil
		}
	}, with(opts, notNegative("n", n, "messages"), oneCount)...)
}

// DropWhile drops messages until f returns false. From that message on it passes all on, and f is
// not called again until the stage is restarted. An error or a panic of f is a fault of the message.
//
//	in   --1--2--9--1--|
//	out  --------9--1--|  f returns false for 9
//
// Order: kept. Acks: carried by what passes; the rest is done here.
// Holds: nothing. Ends: when in ends.
func DropWhile[T any](in flow.Source[T], f func(T) bool, opts ...flow.StageOption) flow.Source[T] {
	return flow.Step(in, "drop-while", func() flow.StepFunc[T, T] {
		passing := false
		return func(_ context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			if !passing {
				yes, err := calm(m.Value, f)
				if err != nil {
					return m, false, fmt.Errorf("operators: drop-while: %w", err)
				}
				passing = !yes
			}
			return m, passing, nil
		}
	}, with(opts, function("f", f != nil), oneCount)...)
}

var oneCount = flow.Traits{OneWorker: "each worker would count for itself", Passes: true}

func notNegative(field string, n int, what string) flow.StageOption {
	if n >= 0 {
		return nil
	}
	return flow.Invalid(field, fmt.Sprintf("%d %s", n, what), "give 0 or more")
}
