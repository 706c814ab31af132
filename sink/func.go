package sink

import (
	"context"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Func is a sink that calls f with each value. The result of f settles the value.
//
// Order: kept; with Workers several goroutines call f at once, in any order or ordered by key.
// Acks: a value is acked as soon as f has returned nil for it. With a ChunkSize above the default
// of 1, a chunk is settled when f has been called with all of it. Ends: with its input; f's context
// is cancelled when the graph stops or its drain takes too long. Errors: the fault policy decides
// on an error or panic of f, and f may return the verdicts flow.Skip, RetryAfter and Reject. While
// a value waits for its retry the values behind it wait too, except those of the same chunk.
func Func[T any](f func(ctx context.Context, v T) error, opts ...flow.StageOption) flow.Sink[T] {
	opts = singly(opts)
	if f == nil {
		opts = append(opts, nilFunc)
	}
	return newEach("func", func(ctx context.Context, m flow.Message[T]) error { return f(ctx, m.Value) }, opts)
}

// Messages is Func for functions that need the message: its id, key, type, headers, time and
// attempt besides its value.
//
// Order, Acks, Ends, Errors: as for Func.
func Messages[T any](f func(ctx context.Context, m flow.Message[T]) error, opts ...flow.StageOption) flow.Sink[T] {
	opts = singly(opts)
	if f == nil {
		opts = append(opts, nilFunc)
	}
	return newEach("messages", f, opts)
}

var nilFunc = flow.Invalid("f", "the function is nil", "give a function")

// stateless marks sinks that keep nothing between the calls of the user's function.
var stateless = flow.Traits{Stateless: true}

// singly sets a default chunk size of 1, so that each message is settled by itself.
func singly(opts []flow.StageOption) []flow.StageOption {
	return slices.Concat([]flow.StageOption{flow.ChunkSize(1)}, opts)
}

func newEach[T any](name string, f func(context.Context, flow.Message[T]) error, opts []flow.StageOption) flow.Sink[T] {
	w := each[T](f)
	opts = append(slices.Clip(opts), stateless)
	return flow.NewSink(name, func() flow.Writer[T] { return w }, opts...)
}

// each is a flow.Writer that calls a function with each message.
type each[T any] func(context.Context, flow.Message[T]) error

func (f each[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	if len(chunk) == 1 {
		return f(ctx, chunk[0])
	}
	var errs []error
	for i, m := range chunk {
		err := ctx.Err() // once it is cancelled the rest of the chunk is not started
		if err == nil {
			err = f.guard(flow.ContextOf(ctx, m), m)
		}
		if err != nil {
			if errs == nil {
				errs = make([]error, len(chunk))
			}
			errs[i] = err
		}
	}
	if errs == nil {
		return nil
	}
	return &flow.WriteError{Errs: errs}
}

// guard returns a panic as the error of its message, because the messages before it in the chunk
// are written.
func (f each[T]) guard(ctx context.Context, m flow.Message[T]) (err error) {
	defer flow.Catch(&err)
	return f(ctx, m)
}

// Batches is a sink that calls f with a slice of the values that are available, up to ChunkSize,
// which defaults to 256 here. With flow.Within it waits up to that long for a full slice, else it
// does not wait. f may keep the slice.
//
//	sink.Batches(insert, flow.ChunkSize(100), flow.Within(500*time.Millisecond))
//
// Order: kept; see Func for Workers. Acks: when f returns nil the whole slice is acked. A
// *flow.WriteError marks the values that failed; the others are acked. Ends: with its input; for
// f's context see Func. Errors: with any other error, or a panic, all values of the slice fail. The
// fault policy decides on each, and f is called again with those to be retried.
func Batches[T any](f func(ctx context.Context, values []T) error, opts ...flow.StageOption) flow.Sink[T] {
	opts = append(slices.Clip(opts), stateless)
	if f == nil {
		opts = append(opts, nilFunc)
	}
	return flow.NewSink("batches", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(ctx context.Context, chunk []flow.Message[T]) error {
			values := make([]T, len(chunk))
			for i := range chunk {
				values[i] = chunk[i].Value
			}
			return f(ctx, values)
		})
	}, opts...)
}

// Later is a sink that lets values be settled later, for example by a webhook or by a person's
// approval. It calls f with each value and a ticket, and f returns. Any goroutine may settle the
// ticket with Ack, Nack or Dead. Up to n tickets may be open; then f is not called until one is
// settled. A ticket that is not settled within the given time is nacked; zero or less sets no
// limit. See flow.Later, which passes f the whole message.
//
// Order: f is called in order; the tickets may be settled in any order. Acks: a value is acked when
// its ticket is acked. Ends: with its input, when all tickets are settled; values with tickets that
// are still open after flow.DrainTimeout are given back. Errors: when f returns an error or panics
// its ticket is void, and the fault policy decides on the value.
func Later[T any](
	n int, within time.Duration, f func(ctx context.Context, v T, t *flow.Ticket) error, opts ...flow.StageOption,
) flow.Sink[T] {
	if f == nil {
		return flow.Later[T](n, within, nil, opts...)
	}
	return flow.Later(n, within, func(ctx context.Context, m flow.Message[T], t *flow.Ticket) error {
		return f(ctx, m.Value, t)
	}, opts...)
}
