package sink

import (
	"context"
	"runtime/debug"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// Func is a sink that is a function: f is called with each value, and its result settles it.
//
// Order: kept; with Workers f is called by several goroutines at once, in any order or by key.
// Acks: a value is acked as soon as f has returned nil for it. With ChunkSize, which is 1 here
// unless set, a chunk is settled when f has been called with all of it. Ends: with its input; f's
// context is done when the graph stops, or its drain takes too long. Errors: an error or a panic of
// f goes by the fault policy, as do the verdicts flow.Skip, RetryAfter and Reject. While a value
// waits for its retry the ones behind it wait too; only within a larger chunk the others go first.
func Func[T any](f func(ctx context.Context, v T) error, opts ...flow.StageOption) flow.Sink[T] {
	opts = singly(opts)
	if f == nil {
		opts = append(opts, nilFunc)
	}
	return newEach("func", func(ctx context.Context, m flow.Message[T]) error { return f(ctx, m.Value) }, opts)
}

// Messages is Func for those who want to see the message: its id, key, type, headers, time and
// attempt beside its value.
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

// singly makes chunks of one message the default, so that each is settled by itself.
func singly(opts []flow.StageOption) []flow.StageOption {
	return slices.Concat([]flow.StageOption{flow.ChunkSize(1)}, opts)
}

func newEach[T any](name string, f func(context.Context, flow.Message[T]) error, opts []flow.StageOption) flow.Sink[T] {
	w := each[T](f)
	return flow.NewSink(name, func() flow.Writer[T] { return w }, opts...)
}

// each writes a chunk one by one.
type each[T any] func(context.Context, flow.Message[T]) error

func (f each[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	if len(chunk) == 1 {
		return f(ctx, chunk[0])
	}
	var errs []error
	for i, m := range chunk {
		err := ctx.Err() // once it is done what is left is not begun
		if err == nil {
			err = f.guard(ctx, m)
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

// guard keeps a panic to its own message: those before it in the chunk are written.
func (f each[T]) guard(ctx context.Context, m flow.Message[T]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &flow.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f(ctx, m)
}

// Batches is a sink that is a function of many values: f is called with what has come, up to ChunkSize values, 256 by
// default. With flow.Within it waits for a full slice, up to that long; without, it waits for
// nothing. The slice is f's to keep.
//
//	sink.Batches(insert, flow.ChunkSize(100), flow.Within(500*time.Millisecond))
//
// Order: kept; see Func for Workers. Acks: when f returns nil all of the slice is acked. A *flow.WriteError tells which
// values are not done, and the others are. Ends: with its input; for f's context see Func.
// Errors: with any other error, or a panic, all values of the slice fail; each goes by the fault
// policy, and f is called again with those that are to be retried.
func Batches[T any](f func(ctx context.Context, values []T) error, opts ...flow.StageOption) flow.Sink[T] {
	if f == nil {
		opts = append(slices.Clip(opts), nilFunc)
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
