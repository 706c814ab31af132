package operators

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Batch gathers values into slices of n. A batch is passed on when it is full, when its first value
// is as old as within, or when the input ends. If within is zero or negative there is no age limit,
// and a batch may wait forever to fill. Then the source must have credits for more than a batch:
// flow.MaxInFlight entries, which Validate checks, and flow.MaxBytes, which it cannot check. The
// receiver may keep the slices.
//
// A batch has the metadata of its first message, and that of all its messages as Meta.Members.
// When a batch fails, all its entries fail. A sink that returns a flow.WriteError with one error
// (or nil) per value settles each value by itself. Values with nil are acked, rejected values
// become dead letters, and the rest is written again under the fault policy. For a function that
// fails as a whole use flow.Bisect: it returns such an error. With an age limit Batch runs on its
// own goroutine (flow.Async), so that a slow stage before it does not delay its timer.
//
//	in   --1--2--3--4--------5--|
//	out  --------(123)--(4)-----(5)|  n = 3, 4 is as old as within
//
// Order: kept, within batches and between them. Acks: an entry is acked when its batch is.
// Holds: up to n messages, for up to within. Ends: when in ends, with a last batch of what is left.
func Batch[T any](in flow.Source[T], n int, within time.Duration, opts ...flow.StageOption) flow.Source[[]T] {
	return batches(in, limits[T]{n: n, within: within}, with(opts, atLeastOne("n", n, "values in a batch")))
}

// BatchWeighted is Batch with a limit by weight. The weights of a batch's values add up to at most
// most. A weight is whatever is limited, such as bytes, rows or tokens. A value that is heavier than
// most is passed on as a batch of one. A weight may be 0. A negative weight, or an error or panic of
// weight, is a fault of its message, not of the batch.
//
//	in   --aa--b--cccc---|
//	out  ---------(aab)--(cccc)|  most = 4
//
// Order: kept, within batches and between them. Acks: an entry is acked when its batch is.
// Holds: up to n messages of the weight most, for up to within. Ends: when in ends, with a last batch of what is left.
func BatchWeighted[T any](
	in flow.Source[T], n int, within time.Duration, most int, weight func(T) int, opts ...flow.StageOption,
) flow.Source[[]T] {
	return batches(in, limits[T]{n: n, within: within, most: most, weight: weight}, with(opts,
		atLeastOne("n", n, "values in a batch"),
		atLeastOne("most", most, "as the weight of a batch"),
		function("weight", weight != nil)))
}

// limits bounds a batch.
type limits[T any] struct {
	n      int
	within time.Duration // <= 0: no limit
	most   int
	weight func(T) int // nil: no limit
}

func batches[T any](in flow.Source[T], lim limits[T], opts []flow.StageOption) flow.Source[[]T] {
	own := []flow.StageOption{flow.Traits{Holds: max(lim.n, 0), HoldsFor: max(lim.within, 0), Joins: true, Passes: true,
		OneWorker: ownBatches}}
	if lim.within > 0 {
		own = append(own, flow.Async())
	}
	return flow.Via(in, "batch", func() flow.Handler[T, []T] { return &batch[T]{limits: lim} }, with(opts, own...)...)
}

const ownBatches = "each worker would fill its own batches"

// batch is the batch being filled.
type batch[T any] struct {
	limits[T]
	held []flow.Held[T]
	has  int       // the weight of held
	due  time.Time // when its first value reaches the age limit; zero: never
}

func (b *batch[T]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[[]T]) error {
	weight, err := b.weightOf(m.Value)
	if err != nil {
		return err
	}
	if len(b.held) > 0 && b.weight != nil && weight > b.most-b.has {
		b.send(ctx, emit)
	}
	b.add(ctx, m)
	b.has += weight
	if len(b.held) >= b.n || b.weight != nil && b.has >= b.most {
		b.send(ctx, emit)
	}
	return nil
}

// add adds a message. The first sets the age limit.
func (b *batch[T]) add(ctx context.Context, m flow.Message[T]) {
	if len(b.held) == 0 && b.within > 0 {
		b.due = time.Now().Add(b.within)
	}
	b.held = append(b.held, flow.Hold(ctx, m))
}

// weightOf calls the user's function. A panic of it would otherwise fail the whole batch.
func (b *batch[T]) weightOf(v T) (int, error) {
	if b.weight == nil {
		return 0, nil
	}
	n, err := calm(v, b.weight)
	if err != nil {
		return 0, fmt.Errorf("operators: batch: weight: %w", err)
	}
	if n < 0 {
		return 0, fmt.Errorf("operators: batch: weight returned %d: return 0 or more", n)
	}
	return n, nil
}

// send passes the batch on and begins the next.
func (b *batch[T]) send(ctx context.Context, emit flow.Emit[[]T]) { emit(b.take(ctx)) }

// take joins the messages of the batch, and begins the next.
func (b *batch[T]) take(ctx context.Context) flow.Message[[]T] {
	values := make([]T, len(b.held))
	for i := range b.held {
		values[i] = b.held[i].Value
	}
	m := flow.Join(ctx, values, b.held)
	clear(b.held)
	b.held, b.has, b.due = b.held[:0], 0, time.Time{}
	return m
}

func (b *batch[T]) Next() time.Time { return b.due }

func (b *batch[T]) Ring(ctx context.Context, emit flow.Emit[[]T]) error {
	b.send(ctx, emit)
	return nil
}

func (b *batch[T]) End(ctx context.Context, emit flow.Emit[[]T]) error {
	if len(b.held) > 0 {
		b.send(ctx, emit)
	}
	return nil
}

// Unbatch turns each slice into its values. If the slice has the length of its batch, each value
// has the metadata (including the reply address) of the message at its index, and settles only that
// message. Otherwise all values have the batch's metadata and share one outcome.
//
//	in   --(123)----(4)--|
//	out  --1-2-3----4----|
//
// Order: kept. Acks: each value by itself, once all are done; an empty slice is done.
// Holds: the current slice. Ends: when in ends.
func Unbatch[T any](in flow.Source[[]T], opts ...flow.StageOption) flow.Source[T] {
	return flow.Via(in, "unbatch", func() flow.Handler[[]T, T] {
		return flow.HandlerFunc[[]T, T](func(_ context.Context, m flow.Message[[]T], emit flow.Emit[T]) error {
			if len(m.Value) != m.Joined() {
				for _, v := range m.Value {
					emit(flow.Derive(m, v))
				}
				return nil
			}
			for i, v := range m.Value {
				emit(flow.Member(m, i, v))
			}
			return nil
		})
	}, opts...)
}
