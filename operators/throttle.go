package operators

import (
	"context"
	"fmt"
	"math"
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

// ThrottleCost is Throttle with a cost per message. n and burst are units, and cost returns how many
// a value needs. A message that costs more than burst waits as long as its cost takes, so all
// messages pass sooner or later. A cost of 0 passes at once. A negative cost, or a panic of cost, is
// a fault of its message.
//
//	in   --1--5--1-----|
//	out  --1-------5--1|  a value costs itself, one unit in a tick
//
// Order: kept. Acks: carried by the output.
// Holds: the message that waits. Ends: when in ends.
func ThrottleCost[T any](
	in flow.Source[T], n int, per time.Duration, burst int, cost func(T) int, opts ...flow.StageOption,
) flow.Source[T] {
	return flow.Step(in, "throttle-cost", func() flow.StepFunc[T, T] {
		pace := rate.NewLimiter(rate.Limit(float64(n)/per.Seconds()), burst)
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			units, err := costOf(m.Value, cost)
			if err != nil {
				return m, false, fmt.Errorf("operators: throttle-cost: %w", err)
			}
			return m, true, spend(ctx, pace, units)
		}
	}, with(opts, atLeastOne("n", n, "units"), positive("per", per), atLeastOne("burst", burst, "units"),
		function("cost", cost != nil), flow.Traits{OneWorker: ownLimit, Passes: true})...)
}

const ownLimit = "each worker would have its own rate limit"

// costOf calls the user's function.
func costOf[T any](v T, cost func(T) int) (int, error) {
	units, err := calm(v, cost)
	if err != nil {
		return 0, fmt.Errorf("cost: %w", err)
	}
	if units < 0 {
		return 0, fmt.Errorf("cost returned %d: return 0 or more", units)
	}
	return units, nil
}

// spend waits until the limiter grants units.
//
// Idea: a limiter grants at most a burst at once. The rest of the cost is a time to wait, after which
// the units that were earned meanwhile are taken.
func spend(ctx context.Context, pace *rate.Limiter, units int) error {
	now, first := time.Now(), min(units, pace.Burst())
	rest := units - first
	if rest == 0 && pace.AllowN(now, first) { // a Reserve allocates
		return nil
	}
	turn := pace.ReserveN(now, first)
	seconds := float64(rest) / float64(pace.Limit())
	wait := turn.DelayFrom(now) + time.Duration(min(seconds*float64(time.Second), math.MaxInt64/2))
	if err := flow.Sleep(ctx, wait); err != nil {
		turn.Cancel()
		return err
	}
	if rest > 0 {
		pace.AllowN(now.Add(wait), min(rest, pace.Burst()))
	}
	return nil
}
