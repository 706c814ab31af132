// Package failsafe puts the calls of operators and sinks under the policies of
// github.com/failsafe-go/failsafe-go: circuit breakers, bulkheads, hedges and others. The policies are
// options of a stage:
//
//	breaker := circuitbreaker.NewBuilder[any]().WithFailureThreshold(5).WithDelay(10 * time.Second).Build()
//	limit := bulkhead.New[any](4)
//	priced := operators.Map(orders, price, flow.Workers(16), failsafe.With(breaker, limit))
//	posted := sink.Func(post, failsafe.With(breaker), failsafe.Hedge(hedgepolicy.NewWithDelay[any](time.Second)))
//
// A policy that several stages share counts each of their calls. So one breaker can guard one
// service, and one bulkhead limits the calls of several stages together.
//
// A message that a policy refuses waits in its stage, and the messages behind it wait too: the stream
// pauses, in order, within the credits of its sources. A wait is no fault: it uses up no retries of
// the fault policy (flow.OnFault) and no deliveries. When the wait is over the call is made. See With
// for the limit of the wait.
package failsafe

import (
	"context"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go"

	"github.com/streamerson/streamerson-go/flow"
)

// Patience is how long With lets a message wait.
const Patience = 10 * time.Minute

// With has the calls of a stage or sink made under policies. The first is the outermost. They may be
// circuit breakers, bulkheads, rate limiters, timeouts and adaptive limiters, for any result type.
// They do not see results, only errors. It applies where flow.Around does: to Map, Filter, FlatMap,
// Try, MapBatch and others of one input and one output that hold no messages, and to sinks.
//
// When a policy refuses a call, the message waits. With an open breaker it waits until that allows
// calls again, and otherwise for 100ms. A call that fails while a breaker is open or half-open afterwards
// is made again as well, when the breaker allows it. The stage logs a warning when it begins to wait
// for a breaker, and a line when it continues. Snapshots count the time as Retrying.
//
// Before the other policies are asked, a message waits until each bulkhead has room. So a full bulkhead
// does not open a breaker. The listeners and MaxWaitTime of the bulkheads do not apply.
//
// A message waits at most for Patience, which is 10 minutes. Then its last error is a fault as any
// other. When the graph drains, a waiting message goes back to its source with flow.RetryAfter.
//
// Any error of the stage's function is a failure to the policies, except the verdicts flow.Skip and
// flow.Reject and permanent errors, which are about the message and not about the service.
func With[R any](policies ...failsafe.ResultAgnosticPolicy[R]) flow.StageOption {
	return WithPatience(Patience, policies...)
}

// WithPatience is With with another limit for the wait of a message.
func WithPatience[R any](d time.Duration, policies ...failsafe.ResultAgnosticPolicy[R]) flow.StageOption {
	if d <= 0 {
		return flow.Invalid("WithPatience", d.String(), "give a positive duration")
	}
	for i, p := range policies {
		if p == nil {
			return nilPolicy("With", i)
		}
	}
	if len(policies) == 0 {
		return nil
	}
	return flow.Around(newGuard(d, policies).around)
}

// Hedge makes a second call, and more if the policy says so, while the first has not returned after
// the policy's delay. The first result counts, and the contexts of the other calls are cancelled.
// f must return soon then; the stage waits for it when it ends. The output of the others is
// dropped, and the message is settled once.
//
// The function runs several times at once for one message. So Hedge applies only to stages with a
// function that makes a value: Map, MapMessage, Filter, FilterMap, FlatMap, Tap, Try, MapBatch, and
// the sinks Func, Messages and Batches. Validate refuses it elsewhere, see flow.Race. Of Hedge and
// With, the option that comes first is the outer one.
func Hedge[R any](policy failsafe.Policy[R]) flow.StageOption {
	if policy == nil {
		return nilPolicy("Hedge", 0)
	}
	executor := failsafe.With(policy)
	return flow.Race(func(ctx context.Context, call func(context.Context) error) error {
		return executor.WithContext(ctx).RunWithExecution(func(e failsafe.Execution[R]) error {
			return call(e.Context())
		})
	})
}

func nilPolicy(option string, i int) flow.StageOption {
	return flow.Invalid(option, fmt.Sprintf("policy %d is nil", i+1), "leave it out")
}
