package source

import (
	"context"
	"io"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// Chan is a source of the values received from a channel. It waits for one value and adds those
// that are buffered already, up to a chunk. It never waits for more.
//
// Order: the channel's. Acks: none; a value is regarded as delivered once it was received. One that
// fails for good stops the graph, unless the policy drops it. Ends: when the channel is closed, or
// by drain, which leaves unread values in the channel. Errors: none of its own.
func Chan[T any](c <-chan T, opts ...flow.StageOption) flow.Source[T] {
	if c == nil {
		opts = append(slices.Clip(opts), flow.Invalid("c", "the channel is nil", "give a channel"))
	}
	return flow.NewSource("chan", func() flow.Reader[T] { return chanReader[T](c) }, opts...)
}

type chanReader[T any] <-chan T

func (c chanReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	return receive(ctx, c, in.Room, in.AddValue)
}

// receive waits for one value and adds it with those that are buffered already. It returns io.EOF
// for a closed channel.
func receive[T any](ctx context.Context, c <-chan T, room func() int, add func(T)) error {
	select {
	case v, ok := <-c:
		if !ok {
			return io.EOF
		}
		add(v)
	case <-ctx.Done():
		return ctx.Err()
	}
	for room() > 0 {
		select {
		case v, ok := <-c:
			if !ok {
				return io.EOF
			}
			add(v)
		default:
			return nil
		}
	}
	return nil
}
