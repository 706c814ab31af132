package gostreams

import (
	"context"
	"io"
	"slices"

	streams "github.com/reugn/go-streams"

	"github.com/streamerson/streamerson-go/flow"
)

// Source lends a source of github.com/reugn/go-streams to a graph. A go-streams source is started
// by its own constructor and runs until it is at its end; the graph takes its elements as it has
// credits for them.
//
// Their elements carry no acks: an element counts as done, for them, once the graph has received
// it. So what a crash interrupts is not delivered again. Beware of their Redis Streams source: as
// released, in a module whose go.mod says go 1.21, it sends the address of one loop variable for
// all messages of a read, so what arrives may be the same message several times; source.Stream is
// the one to use.
//
// Order: the source's. Acks: nobody is told; a value that fails for good stops the graph, unless
// the policy drops it. Ends: when src closes its channel, or by drain. go-streams has no way to
// tell src of a drain: its goroutine waits for somebody to take its next element until its own
// context, if it takes one, is done. Errors: an element that is no T is a *TypeError, by the
// source's fault policy: OnFault(flow.Drop) passes over it.
func Source[T any](src streams.Source, opts ...flow.StageOption) flow.Source[T] {
	if src == nil {
		opts = append(slices.Clip(opts), flow.Invalid("src", "the go-streams source is nil", "give a source"))
	}
	return flow.NewSource("go-streams", func() flow.Reader[T] { return &sourceReader[T]{src} }, opts...)
}

type sourceReader[T any] struct{ src streams.Source }

func (r *sourceReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	return receive(ctx, r.src.Out(), in)
}

// receive waits for one element and takes those that are there already. It returns io.EOF for a
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
