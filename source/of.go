package source

import (
	"context"
	"io"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// Of is a source of the given values. It takes no options: set options at the stages after it.
//
// Order: as given. Acks: none; a value that fails for good stops the graph, unless the policy drops
// it. Ends: after the last value; each run of the graph begins with the first. Errors: none of its
// own.
func Of[T any](values ...T) flow.Source[T] {
	values = slices.Clone(values) // the caller may still use its slice
	return flow.NewSource("of", func() flow.Reader[T] { return &ofReader[T]{left: values} }, flow.Inline())
}

type ofReader[T any] struct{ left []T }

func (r *ofReader[T]) Read(_ context.Context, in *flow.Intake[T]) error {
	if r.left = r.left[addValues(in, r.left):]; len(r.left) == 0 {
		return io.EOF
	}
	return nil
}
