package operators

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/streamerson/streamerson-go/flow"
)

// Try is Map with a branch for what fails: when f returns an error or panics, its input goes to the second output as a
// flow.Failure, and counts as handled there. f is called once for each delivery, since its errors are values and no
// faults; a fault policy has nothing to decide here, and retries that are wanted belong into f.
//
// Some errors are not taken for values. With the verdicts flow.Skip, flow.RetryAfter and
// flow.Reject f decides about its message as everywhere else, and a flow.Permanent error stops the
// graph. What f returns because the graph is being stopped is nobody's failure: the message goes
// back to its source.
//
// Order: kept on each output; with flow.KeyedBy within a key, with flow.Unordered not. Acks: carried by either output.
// Holds: two chunks waiting on each output. Ends: when in ends.
func Try[T, U any](
	in flow.Source[T], f func(context.Context, T) (U, error), opts ...flow.StageOption,
) (ok flow.Source[U], failed flow.Source[flow.Failure[T]]) {
	tried := flow.Step(in, "try", func() flow.StepFunc[T, attempt[T, U]] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[attempt[T, U]], bool, error) {
			var a attempt[T, U]
			var err error
			if a.value, err = calm(ctx, m.Value, f); err == nil {
				return flow.Derive(m, a), true, nil
			}
			_, decided := flow.Verdict(err)
			stopped := errors.Is(ctx.Err(), context.Canceled) // a timeout of the stage is a DeadlineExceeded
			if decided || stopped || flow.IsPermanent(err) {
				return flow.Derive(m, a), false, err
			}
			failure := flow.NewFailure(flow.StageName(ctx), m, err)
			a.failure = &failure
			return flow.Derive(m, a), true, nil
		}
	}, with(opts, function("f", f != nil))...)
	return flow.Fork(tried, "try-outcome", func() flow.ForkFunc[attempt[T, U], U, flow.Failure[T]] {
		return func(
			_ context.Context, m flow.Message[attempt[T, U]], ok flow.Emit[U], failed flow.Emit[flow.Failure[T]],
		) error {
			if a := m.Value; a.failure != nil {
				failed(flow.Derive(m, *a.failure))
			} else {
				ok(flow.Derive(m, a.value))
			}
			return nil
		}
	})
}

// attempt is what came of one call: a value, or a failure.
type attempt[T, U any] struct {
	value   U
	failure *flow.Failure[T]
}

// calm calls f and turns its panic into an error.
func calm[T, U any](ctx context.Context, v T, f func(context.Context, T) (U, error)) (u U, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &flow.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return f(ctx, v)
}
