package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// Case sends values of one case to an output of their own. match returns the value as that case, and
// whether it is one. A chain of Cases on rest is a type switch: match may be a type assertion, or
// decode what it recognizes.
//
//	in    --A--b--C--d--|
//	hit   --a-----c-----|  upper case
//	rest  -----b-----d--|
//
// Order: kept on each output. Acks: carried by the output.
// Holds: two chunks waiting on each output. Ends: when in ends.
func Case[T, U any](
	in flow.Source[T], match func(T) (U, bool), opts ...flow.StageOption,
) (hit flow.Source[U], rest flow.Source[T]) {
	return flow.Fork(in, "case", func() flow.ForkFunc[T, U, T] {
		return func(_ context.Context, m flow.Message[T], hit flow.Emit[U], rest flow.Emit[T]) error {
			if u, ok := match(m.Value); ok {
				hit(flow.Derive(m, u))
			} else {
				rest(m)
			}
			return nil
		}
	}, with(opts, function("match", match != nil))...)
}

// Pair is two values: what Zip makes and Unzip takes apart.
type Pair[A, B any] struct {
	First  A
	Second B
}

// Unzip sends the two values of a pair to an output each. If Zip has made the pair, each value has
// the metadata of its own message again, and settles only that one. Otherwise both have the metadata
// of the pair's message.
//
//	in      --(1a)--(2b)--(3c)--|
//	first   --1-----2-----3-----|
//	second  --a-----b-----c-----|
//
// Order: kept on each output. Acks: when both outputs are; after Zip each by itself.
// Holds: two chunks waiting on each output. Ends: when in ends.
func Unzip[A, B any](
	in flow.Source[Pair[A, B]], opts ...flow.StageOption,
) (first flow.Source[A], second flow.Source[B]) {
	return flow.Fork(in, "unzip", func() flow.ForkFunc[Pair[A, B], A, B] {
		return func(_ context.Context, m flow.Message[Pair[A, B]], first flow.Emit[A], second flow.Emit[B]) error {
			if len(m.Meta().Members) == 2 {
				first(flow.Member(m, 0, m.Value.First))
				second(flow.Member(m, 1, m.Value.Second))
				return nil
			}
			first(flow.Derive(m, m.Value.First))
			second(flow.Derive(m, m.Value.Second))
			return nil
		}
	}, opts...)
}
