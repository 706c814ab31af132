package operators

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/streamerson/streamerson-go/flow"
)

// Throttle makes the stream wait, to keep a rate. It passes n messages in each interval per, spaced
// evenly. After a quiet time, up to burst messages may pass at once. A burst of 1 always keeps them
// evenly spaced; n allows the whole interval's messages at its start. A drain keeps this pace, so
// the messages in flight must fit into flow.DrainTimeout. A stop ends the wait at once.
//
// The limit holds for one running graph. Other processes have their own; see ThrottleShared.
//
//	in   -123----------4--|
//	out  -1---2---3----4--|  one in four ticks
//
// Order: kept. Acks: carried by the output.
// Holds: the message that waits. Ends: when in ends.
func Throttle[T any](
	in flow.Source[T], n int, per time.Duration, burst int, opts ...flow.StageOption,
) flow.Source[T] {
	return flow.Step(in, "throttle", func() flow.StepFunc[T, T] {
		pace := rate.NewLimiter(rate.Limit(float64(n)/per.Seconds()), burst)
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			if pace.Allow() { // a Reserve allocates
				return m, true, nil
			}
			turn := pace.Reserve()
			if err := flow.Sleep(ctx, turn.Delay()); err != nil {
				turn.Cancel()
				return m, false, err
			}
			return m, true, nil
		}
	}, with(opts, atLeastOne("n", n, "messages"), positive("per", per), atLeastOne("burst", burst, "messages"),
		flow.Traits{OneWorker: ownLimit, Passes: true})...)
}

func positive(field string, d time.Duration) flow.StageOption {
	if d > 0 {
		return nil
	}
	return flow.Invalid(field, fmt.Sprintf("an interval of %v", d), "give a positive duration")
}
