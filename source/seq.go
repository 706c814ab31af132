package source

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Of is a source of the given values. It takes no options: set options at the stages after it.
//
// Order: as given. Acks: none; a value that fails for good stops the graph, unless the policy drops
// it. Ends: after the last value; each run of the graph begins with the first. Errors: none of its
// own.
func Of[T any](values ...T) flow.Source[T] {
	values = slices.Clone(values) // the caller may still use its slice
	return flow.NewSource("of", func() flow.Reader[T] { return &ofReader[T]{left: values} }, flow.Traits{Inline: true})
}

type ofReader[T any] struct{ left []T }

func (r *ofReader[T]) Read(_ context.Context, in *flow.Intake[T]) error {
	if r.left = r.left[addValues(in, r.left):]; len(r.left) == 0 {
		return io.EOF
	}
	return nil
}

// seqGrace is how long an ending source waits for a busy sequence to return.
const seqGrace = time.Second

// Seq is a source of the values of a sequence. It asks the sequence for a value only when there is
// a credit for it. The sequence runs on its own goroutine, so that it may block without delaying
// values it has yielded.
//
// Order: the sequence's. Acks: none; a value that fails for good stops the graph, unless the policy
// drops it. Ends: with the sequence, or by drain. In a drain yield returns false, and a value being
// yielded at that time is not read. A sequence that does not yield within a second is abandoned.
// Each run of the graph calls seq again. Errors: the first error that seq yields, or its panic,
// ends the source. The values before it are settled, then the graph stops with that error in a
// *flow.StageError; a restart would begin from the start.
func Seq[T any](seq iter.Seq2[T, error], opts ...flow.StageOption) flow.Source[T] {
	if seq == nil {
		opts = append(
			slices.Clip(opts),
			flow.Invalid("seq", "the sequence is nil", "give a sequence; Of() is an empty source"),
		)
	}
	return newSeq("seq", func(yield func(T) bool) error {
		for v, err := range seq {
			if err != nil {
				return fmt.Errorf("source: sequence: %w", err)
			}
			if !yield(v) {
				return nil
			}
		}
		return io.EOF
	}, opts)
}

// Values is Seq for a sequence that cannot fail, such as that of maps.Keys or slices.Values.
//
// Order, Acks, Ends, Errors: as for Seq.
func Values[T any](seq iter.Seq[T], opts ...flow.StageOption) flow.Source[T] {
	if seq == nil {
		opts = append(
			slices.Clip(opts),
			flow.Invalid("seq", "the sequence is nil", "give a sequence; Of() is an empty source"),
		)
	}
	return newSeq("values", func(yield func(T) bool) error {
		for v := range seq {
			if !yield(v) {
				return nil
			}
		}
		return io.EOF
	}, opts)
}

func newSeq[T any](name string, produce func(yield func(T) bool) error, opts []flow.StageOption) flow.Source[T] {
	return flow.NewSource(name, func() flow.Reader[T] {
		return &feedReader[T, T]{feed: newFeed(produce), add: addValues[T], grace: seqGrace}
	}, opts...)
}

func addValues[T any](in *flow.Intake[T], values []T) int {
	n := min(in.Room(), len(values))
	for _, v := range values[:n] {
		in.AddValue(v)
	}
	return n
}
