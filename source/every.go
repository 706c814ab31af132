package source

import (
	"context"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Every is a source of one value per tick of a clock, the first after d. f receives the tick's
// time, which is also the message's. The graph works on one tick at a time until it is settled.
// Ticks that pass while it is busy or paused coalesce to one. MaxInFlight allows more ticks in
// flight, as stages that batch ticks need.
//
// Order: kept. Acks: none; a tick that fails for good stops the graph, unless the policy drops it.
// Ends: by drain only. Errors: if f panics the source is restarted, within the graph's limits.
func Every[T any](d time.Duration, f func(tick time.Time) T, opts ...flow.StageOption) flow.Source[T] {
	opts = slices.Concat([]flow.StageOption{flow.MaxInFlight(1)}, opts)
	if d <= 0 {
		opts = append(opts, flow.Invalid("d", "a tick every "+d.String(), "give a positive duration"))
	}
	if f == nil {
		opts = append(opts, flow.Invalid("f", "the function is nil", "give a function that makes a value of a time"))
	}
	return flow.NewSource("every", func() flow.Reader[T] { return &tickReader[T]{every: d, make: f} }, opts...)
}

type tickReader[T any] struct {
	every  time.Duration
	make   func(time.Time) T
	ticker *time.Ticker
}

func (r *tickReader[T]) Open(context.Context) error {
	r.ticker = time.NewTicker(r.every)
	return nil
}

func (r *tickReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	select {
	case tick := <-r.ticker.C:
		in.Add(r.make(tick), flow.Meta{Time: tick}, 0)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *tickReader[T]) Close(context.Context) error {
	if r.ticker != nil {
		r.ticker.Stop()
	}
	return nil
}
