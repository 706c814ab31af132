package operators_test

import (
	"context"
	"io"

	"github.com/streamerson/streamerson-go/flow"
)

// sourceOf is a source of the given values, and sinkFunc a sink that is a function: what the examples read and write.
func sourceOf[T any](values ...T) flow.Source[T] {
	return flow.NewSource("of", func() flow.Reader[T] { return &reader[T]{left: values} })
}

type reader[T any] struct{ left []T }

func (r *reader[T]) Read(_ context.Context, in *flow.Intake[T]) error {
	for in.Room() > 0 && len(r.left) > 0 {
		in.AddValue(r.left[0])
		r.left = r.left[1:]
	}
	if len(r.left) == 0 {
		return io.EOF
	}
	return nil
}

func sinkFunc[T any](f func(context.Context, T) error) flow.Sink[T] {
	return flow.NewSink("func", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(ctx context.Context, chunk []flow.Message[T]) error {
			for _, m := range chunk {
				if err := f(ctx, m.Value); err != nil {
					return err
				}
			}
			return nil
		})
	}, flow.ChunkSize(1))
}
