package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// DivertTo sends the values for which when is true to a sink. The other values go on. The returned
// branch ends in the sink and belongs into the same graph; Validate reports an output that is
// missing there. The options are those of the stage that decides. Give the sink's own to its
// constructor.
//
//	in    --1--2--3--4--|
//	out   --1-----3-----|
//	sink  -----2-----4--|  even
//
//	valid, refused := operators.DivertTo(orders, isEmpty, rejects)
//	g := flow.New("orders", flow.To(valid, out), refused)
//
// Order: kept on each output. Acks: carried by the output, or by the sink.
// Holds: two chunks waiting on each output. Ends: when in ends.
func DivertTo[T any](
	in flow.Source[T], when func(T) bool, to flow.Sink[T], opts ...flow.StageOption,
) (flow.Source[T], flow.Branch) {
	outs := flow.Route(in, "divert-to", 2, func() flow.RouteFunc[T, T] {
		return func(_ context.Context, m flow.Message[T], emit func(int, flow.Message[T])) error {
			if when(m.Value) {
				emit(1, m)
			} else {
				emit(0, m)
			}
			return nil
		}
	}, with(opts, function("when", when != nil))...)
	return outs[0], flow.To(outs[1], to)
}

// WireTap offers copies to a sink that does not matter. The sink neither slows nor fails the stream.
// Use it for logs, samples and experiments. When the sink lags behind by two chunks, further
// copies are dropped. When it cannot be opened, fails or panics, its messages are dropped, and it is
// opened again after a second. Snapshots and metrics count both: tap_dropped at this stage, and
// tap_failed at the sink. When the stream ends, the sink gets flow.AckTimeout to finish. The returned
// branch ends in the sink and belongs into the same graph; Validate reports an output that is missing
// there.
//
//	in    --1--2--3--4--|
//	out   --1--2--3--4--|
//	sink  --1--2-----x--|  3 was dropped, 4 failed
//
// Order: kept. Acks: carried by the output; the sink does not count.
// Holds: two chunks waiting on each output, and a chunk of copies. Ends: when in ends.
func WireTap[T any](
	in flow.Source[T], to flow.Sink[T], opts ...flow.StageOption,
) (flow.Source[T], flow.Branch) {
	return flow.Tap(in, "wire-tap", to, opts...)
}

// AlsoTo copies each message to a sink. The sink counts: an entry is acknowledged when the sink has
// written it as well, and a slow sink slows the stream down. WireTap is for sinks that must not. The
// returned branch ends in the sink and belongs into the same graph; Validate reports an output that
// is missing there. The options are those of the stage that copies. Give the sink's own to its
// constructor.
//
//	in    --1--2--3--|
//	out   --1--2--3--|
//	sink  --1--2--3--|
//
//	billed, audit := operators.AlsoTo(invoices, auditLog)
//	g := flow.New("billing", flow.To(billed, out), audit)
//
// Order: kept on each output. Acks: when output and sink are.
// Holds: two chunks waiting on each output. Ends: when in ends.
func AlsoTo[T any](
	in flow.Source[T], to flow.Sink[T], opts ...flow.StageOption,
) (flow.Source[T], flow.Branch) {
	outs := flow.Route(in, "also-to", 2, func() flow.RouteFunc[T, T] {
		return func(_ context.Context, m flow.Message[T], emit func(int, flow.Message[T])) error {
			emit(0, m)
			emit(1, m)
			return nil
		}
	}, opts...)
	return outs[0], flow.To(outs[1], to)
}

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
			if m.Joined() == 2 {
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
