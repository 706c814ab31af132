// Package failsafe runs the functions of operators and sinks under the policies of
// github.com/failsafe-go/failsafe-go: circuit breakers, hedges, bulkheads and others.
//
//	breaker := circuitbreaker.NewBuilder[Price]().WithFailureThreshold(5).WithDelay(10 * time.Second).Build()
//	limit := bulkhead.NewBuilder[Price](4).WithMaxWaitTime(time.Second).Build()
//	priced := operators.Map(orders, failsafe.Wrap(price, breaker, limit), flow.Workers(16))
//
// The fault policy of the stage (flow.OnFault) decides on what the policies let through. Retries
// belong there, because only it can give an entry back or keep it as a dead letter.
//
// By default all errors count as failures of the service. Errors that only concern one message, such
// as flow.Skip and flow.Reject, should not open a breaker: pass Failed to HandleIf of its builder.
package failsafe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/streamerson/streamerson-go/flow"
)

// soon is when a message is tried again that a policy refused without naming a time: by a bulkhead
// that is full, or by a breaker that tests its service with other calls.
const soon = 100 * time.Millisecond

// Wrap returns f under the policies, for operators.Map, Try and others. The first policy is the
// outermost. They may be shared by several functions with the same result type, and count all their
// calls.
//
// An open circuit breaker, and a full bulkhead, refuse a call: the message is delivered again
// (flow.RetryAfter) when the breaker allows calls again, or after 100ms. These are deliveries, so a
// source with a small MaxDeliveries may make the message a dead letter; see Pause. A hedge calls f
// on another goroutine while the first call still runs. The first result counts, and the message
// is settled once. The context of the other call is cancelled; f must return soon then, and must
// not hold messages. All calls are cancelled with the message's context. A panic of f is an error.
func Wrap[T, U any](
	f func(ctx context.Context, v T) (U, error), policies ...failsafe.Policy[U],
) func(ctx context.Context, v T) (U, error) {
	if f == nil {
		return nil // Validate reports the nil function for the stage that receives it
	}
	for i, p := range policies {
		if p == nil {
			err := flow.Permanent(fmt.Errorf("failsafe: policy %d is nil: leave it out", i+1))
			return func(context.Context, T) (u U, _ error) { return u, err }
		}
	}
	if len(policies) == 0 {
		return f
	}
	executor := failsafe.With(policies...)
	return func(ctx context.Context, v T) (U, error) {
		u, err := executor.WithContext(ctx).GetWithExecution(func(e failsafe.Execution[U]) (U, error) {
			return call(e.Context(), v, f)
		})
		if err != nil {
			err = refused(err, policies)
		}
		return u, err
	}
}

// WrapFunc is Wrap for a function without a result, such as that of sink.Func.
func WrapFunc[T any](
	f func(ctx context.Context, v T) error, policies ...failsafe.Policy[any],
) func(ctx context.Context, v T) error {
	if f == nil {
		return nil
	}
	wrapped := Wrap(func(ctx context.Context, v T) (any, error) { return nil, f(ctx, v) }, policies...)
	return func(ctx context.Context, v T) error {
		_, err := wrapped(ctx, v)
		return err
	}
}

// Pause waits in place while f, which Wrap returned, is refused by its policies, and then calls it
// again. So the stream pauses while a breaker is open, its order is kept, and no deliveries are
// used up. The messages behind wait too. flow.Timeout includes the wait.
func Pause[T, U any](
	f func(ctx context.Context, v T) (U, error),
) func(ctx context.Context, v T) (U, error) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, v T) (U, error) {
		for {
			u, err := f(ctx, v)
			var r *refusal
			if !errors.As(err, &r) {
				return u, err
			}
			if err := flow.Sleep(ctx, r.after); err != nil {
				return u, err
			}
		}
	}
}

// Failed reports whether an error is a failure of a service: any error but flow.Skip and
// flow.Reject, which are about one message. Use it for HandleIf of a policy's builder.
func Failed[U any](_ U, err error) bool {
	if err == nil {
		return false
	}
	d, decided := flow.Verdict(err)
	return !decided || d.Do != flow.ActDrop && d.Do != flow.ActDead
}

// call calls f and returns its panic as an error: a hedge calls it on a goroutine of its own.
func call[T, U any](ctx context.Context, v T, f func(context.Context, T) (U, error)) (u U, err error) {
	defer flow.Catch(&err)
	return f(ctx, v)
}

// refusal is the error of a call that a policy refused.
type refusal struct {
	error
	after time.Duration
}

func (r *refusal) Unwrap() error { return r.error }

// refused turns the refusal of a policy into a verdict.
func refused[U any](err error, policies []failsafe.Policy[U]) error {
	if !errors.Is(err, circuitbreaker.ErrOpen) && !errors.Is(err, bulkhead.ErrFull) {
		return err
	}
	after := soon
	if errors.Is(err, circuitbreaker.ErrOpen) {
		for _, p := range policies {
			if b, ok := p.(interface{ RemainingDelay() time.Duration }); ok {
				after = max(after, b.RemainingDelay())
			}
		}
	}
	return flow.RetryAfter(after, &refusal{err, after})
}
