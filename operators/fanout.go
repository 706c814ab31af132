package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// FanOut copies each message to all of n outputs. The slowest of them rules: the others get ahead of it by no more than
// what its edge holds. The copies share the value itself; where it is a pointer or has one in it, nobody may write
// through it. When a branch fails, it alone is tried again, and the entry's outcome is the worst of its branches'. An
// entry that is given back is delivered again as a whole, so all branches repeat it.
//
// Order: kept on each output. Acks: an entry is acked when all branches have.
// Holds: two chunks waiting on each output. Ends: when in ends.
func FanOut[T any](in flow.Source[T], n int, opts ...flow.StageOption) []flow.Source[T] {
	return flow.Route(in, "fan-out", n, func() flow.RouteFunc[T, T] {
		return func(_ context.Context, m flow.Message[T], emit func(int, flow.Message[T])) error {
			for i := range n {
				emit(i, m)
			}
			return nil
		}
	}, opts...)
}

// Balance shares the messages out among n outputs: each goes to an output that has room for it, in turn when several
// have. So a slow output gets less of the work than a fast one. To keep a backlog from piling up behind a slow output,
// messages are handed over one by one, at about a microsecond each; where throughput counts for more, flow.ChunkSize
// makes it more at a time. What a sink gathers for one write is its own matter: see its flow.ChunkSize.
//
// Order: not kept, beyond that of each output by itself. Acks: carried by the output.
// Holds: two chunks, of one message unless flow.ChunkSize says more, waiting on each output. Ends: when in ends.
func Balance[T any](in flow.Source[T], n int, opts ...flow.StageOption) []flow.Source[T] {
	return flow.Route(in, "balance", n, func() flow.RouteFunc[T, T] {
		return func(_ context.Context, m flow.Message[T], emit func(int, flow.Message[T])) error {
			emit(flow.AnyPort, m)
			return nil
		}
	}, with(opts, flow.ChunkSize(1), flow.Passes())...)
}

// Split sends the messages for whose value p is true to the first output, and the others to the second.
//
// Order: kept on each output. Acks: carried by the output.
// Holds: two chunks waiting on each output. Ends: when in ends.
func Split[T any](in flow.Source[T], p func(T) bool, opts ...flow.StageOption) (yes, no flow.Source[T]) {
	outs := flow.Route(in, "split", 2, func() flow.RouteFunc[T, T] {
		return func(_ context.Context, m flow.Message[T], emit func(int, flow.Message[T])) error {
			if p(m.Value) {
				emit(0, m)
			} else {
				emit(1, m)
			}
			return nil
		}
	}, with(opts, function("p", p != nil))...)
	return outs[0], outs[1]
}
