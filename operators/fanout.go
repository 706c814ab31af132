package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// FanOut copies each message to n outputs. The slowest output sets the pace: the others get ahead
// of it by at most the capacity of its edge. The copies share the value, so no branch may write
// through a pointer in it. When a branch fails, only that branch is retried. The entry's outcome is
// the worst outcome of its branches. An entry that is given back is delivered again as a whole, so
// all branches repeat it.
//
//	in      --1--2--3--|
//	out[0]  --1--2--3--|
//	out[1]  --1--2--3--|
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

// Balance sends each message to an output that has room. If several have, they take turns. So a
// slow output gets fewer messages than a fast one. Messages are handed over one by one, which costs
// about a microsecond each but keeps a backlog from forming behind a slow output. Set
// flow.ChunkSize where throughput matters more. The flow.ChunkSize of a sink is independent of it.
//
//	in      --1--2--3--4--|
//	out[0]  --1-----3--4--|
//	out[1]  -----2--------|  slow
//
// Order: not kept, except within each output. Acks: carried by the output.
// Holds: two chunks, of one message unless flow.ChunkSize is set, waiting on each output. Ends: when in ends.
func Balance[T any](in flow.Source[T], n int, opts ...flow.StageOption) []flow.Source[T] {
	return flow.Route(in, "balance", n, func() flow.RouteFunc[T, T] {
		return func(_ context.Context, m flow.Message[T], emit func(int, flow.Message[T])) error {
			emit(flow.AnyPort, m)
			return nil
		}
	}, with(opts, flow.ChunkSize(1), flow.Traits{Passes: true})...)
}

// Split sends each message to one of two outputs. It is the first if p returns true for the value,
// else the second.
//
//	in   --1--2--3--4--|
//	yes  -----2-----4--|  even
//	no   --1-----3-----|
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
