package operators

import (
	"context"
	"errors"

	"github.com/streamerson/streamerson-go/flow"
)

// Try is Map with a second output for failures. When f returns an error or panics, its input is
// sent to the second output as a flow.Failure and is regarded as handled. Errors of f are values
// and not faults, so the fault policy does not apply, and f is called once per delivery. Retries
// belong in f.
//
// Some errors are not treated as values. The verdicts flow.Skip, flow.RetryAfter and flow.Reject
// decide about the message as everywhere else, and a flow.Permanent error stops the graph. An error
// that f returns because the graph is being stopped is not a failure: the message goes back to its
// source.
//
//	in      --1--x--3--|
//	ok      --1-----3--|
//	failed  -----x-----|
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
			if a.value, err = tryOne(ctx, m.Value, f); err == nil {
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
	}, with(opts, stateless, function("f", f != nil))...)
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

// attempt is the result of one call: a value or a failure.
type attempt[T, U any] struct {
	value   U
	failure *flow.Failure[T]
}

// tryOne calls f and returns its panic as an error.
func tryOne[T, U any](ctx context.Context, v T, f func(context.Context, T) (U, error)) (u U, err error) {
	defer flow.Catch(&err)
	return f(ctx, v)
}
