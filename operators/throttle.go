package operators

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/streamerson/streamerson-go/flow"
)

// Throttle lets n messages through in each interval, spaced evenly, by making the stream wait. burst is how many may go
// at once after a quiet time: 1 keeps them evenly spaced at all times, n allows the whole interval's at its start. A
// drain goes on at this pace, so what is in flight then must fit into flow.DrainTimeout; a stop ends the wait at once.
//
// The pace is that of one running graph: other processes have their own.
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
	}, with(
		opts,
		atLeastOne("n", n, "messages"),
		positive("per", per),
		atLeastOne(
			"burst",
			burst,
			"messages",
		),
		flow.OneWorker("each worker would have a pace of its own"),
		flow.Passes(),
	)...)
}

func positive(field string, d time.Duration) flow.StageOption {
	if d > 0 {
		return nil
	}
	return flow.Invalid(field, fmt.Sprintf("an interval of %v", d), "give a positive duration")
}
