package sink

import (
	"context"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// Chan is a sink that sends each value to a channel, and blocks until it is received or buffered.
// The caller owns the channel; Chan does not close it. After Run has returned nothing more is sent.
//
// Order: kept. Acks: a value is acked when the channel has taken it; the graph does not see what
// happens to it afterwards. Ends: with its input. When the graph stops, or its drain takes too
// long, unsent values go back to their source. Errors: a send to a closed channel panics; the fault
// policy handles it like any panic.
func Chan[T any](c chan<- T, opts ...flow.StageOption) flow.Sink[T] {
	opts = singly(opts)
	if c == nil {
		opts = append(opts, flow.Invalid("c", "the channel is nil", "give a channel"))
	}
	return newEach("chan", func(ctx context.Context, m flow.Message[T]) error {
		select {
		case c <- m.Value: // the usual case
			return nil
		default:
		}
		select {
		case c <- m.Value:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, opts)
}

// Discard is a sink that acks everything and keeps nothing, for outputs that are not needed.
//
// Order: none. Acks: at once. Ends: with its input. Errors: none.
func Discard[T any](opts ...flow.StageOption) flow.Sink[T] {
	return flow.NewSink("discard", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(context.Context, []flow.Message[T]) error { return nil })
	}, slices.Clip(opts)...)
}
