package operators

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// Scan passes on the sum so far after each value. f adds a value to the sum, which may be of any type
// and starts with first. An error or a panic of f is a fault of the message and leaves the aggregate as it was.
// So f must return a changed copy and not change what the aggregate points to. The aggregate is lost
// when the stage is restarted. An entry that is delivered again is added again.
//
//	in   --1--2--3--|
//	out  --1--3--6--|
//
// Order: kept. Acks: carried by the output.
// Holds: the aggregate. Ends: when in ends.
func Scan[T, A any](
	in flow.Source[T], first A, f func(ctx context.Context, sum A, v T) (A, error), opts ...flow.StageOption,
) flow.Source[A] {
	return flow.Step(in, "scan", func() flow.StepFunc[T, A] {
		sum := first
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[A], bool, error) {
			next, err := addTo(ctx, "scan", sum, m.Value, f)
			if err == nil {
				sum = next
			}
			return flow.Derive(m, sum), true, err
		}
	}, with(opts, function("f", f != nil), oneState)...)
}

// Fold passes on the sum of all values at the end. It is Scan that passes on only the last aggregate,
// when in ends or the graph drains. That of no values is first. For a stream without an end use
// Window, which also keeps the entries leased until their aggregate is done.
//
//	in   --1--2--3--|
//	out  ------------6|
//
// Order: there is one output. Acks: an entry is acked when it is added, so the result carries no entry.
// Holds: the aggregate. Ends: when in ends, after the aggregate.
func Fold[T, A any](
	in flow.Source[T], first A, f func(ctx context.Context, sum A, v T) (A, error), opts ...flow.StageOption,
) flow.Source[A] {
	return flow.Via(in, "fold", func() flow.Handler[T, A] { return &fold[T, A]{sum: first, f: f} },
		with(opts, function("f", f != nil), oneState)...)
}

var oneState = flow.Traits{OneWorker: "each worker would have a state of its own"}

type fold[T, A any] struct {
	sum A
	f   func(context.Context, A, T) (A, error)
}

func (h *fold[T, A]) Handle(ctx context.Context, m flow.Message[T], _ flow.Emit[A]) error {
	next, err := addTo(ctx, "fold", h.sum, m.Value, h.f)
	if err == nil {
		h.sum = next
	}
	return err
}

func (h *fold[T, A]) End(_ context.Context, emit flow.Emit[A]) error {
	emit(flow.NewMessage(h.sum, flow.Meta{}))
	return nil
}

// addTo calls f. Its panic becomes an error that does not cost the stage its state.
func addTo[T, A any](
	ctx context.Context, name string, sum A, v T, f func(context.Context, A, T) (A, error),
) (next A, err error) {
	var panicked error
	func() {
		defer flow.Catch(&panicked)
		next, err = f(ctx, sum, v)
	}()
	if panicked != nil {
		err = fmt.Errorf("operators: %s: %w", name, panicked)
	}
	return next, err
}
