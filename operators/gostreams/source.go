package gostreams

import (
	"context"
	"io"
	"slices"

	streams "github.com/reugn/go-streams"

	"github.com/streamerson/streamerson-go/flow"
)

// Source connects a source of github.com/reugn/go-streams to a graph. The constructor of a
// go-streams source starts it, and it runs until its end. The graph takes elements as it has
// credits for them.
//
// Elements carry no acks: for go-streams, an element is done once the graph has received it. So
// elements in flight during a crash are not redelivered. Do not use go-streams' Redis Streams
// source. As released, with go 1.21 in its go.mod, it sends the address of one loop variable for
// all messages of a read. So the same message may arrive several times. Use source.Stream instead.
//
// Order: the source's. Acks: none; a value that fails permanently stops the graph, unless the
// policy drops it. Ends: when src closes its channel, or by drain. A drain cannot be reported to
// src: its goroutine blocks on its next element until its own context, if it has one, is done.
// Errors: an element that is not a T is a *TypeError, subject to the source's fault policy:
// OnFault(flow.Drop) skips it.
func Source[T any](src streams.Source, opts ...flow.StageOption) flow.Source[T] {
	if src == nil {
		opts = append(slices.Clip(opts), flow.Invalid("src", "the go-streams source is nil", "pass a source"))
	}
	return flow.NewSource("go-streams", func() flow.Reader[T] { return &sourceReader[T]{src} }, opts...)
}

type sourceReader[T any] struct{ src streams.Source }

func (r *sourceReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	return receive(ctx, r.src.Out(), in)
}

// receive waits for one element and takes those that are already available. It returns io.EOF for a
// closed channel.
func receive[T any](ctx context.Context, c <-chan any, in *flow.Intake[T]) error {
	for wait := true; in.Room() > 0; wait = false {
		var element any
		open := true
		if wait {
			select {
			case element, open = <-c:
			case <-ctx.Done():
				return ctx.Err()
			}
		} else {
			select {
			case element, open = <-c:
			default:
				return nil
			}
		}
		if !open {
			return io.EOF
		}
		if v, ok := element.(T); ok {
			in.AddValue(v)
			continue
		}
		in.AddBad(flow.Meta{}, 0, typeError[T](in.Seq(), element))
	}
	return nil
}
