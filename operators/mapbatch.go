package operators

import (
	"context"
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// MapBatch turns the values of a batch into others. It calls f once per batch, such as a query
// with many keys, and passes the results on one by one. f returns one result per value, in the
// same order. Each result has the metadata of its own message and settles only that message.
//
// A *flow.WriteError of f has one error, or nil, per value: only the values with an error fail.
// The fault policy decides on each, and a retry calls f with that value alone. Any other error, or
// a panic, is one of the whole batch: a retry calls f with all values. For an f that fails as a
// whole use flow.BisectResults: it finds the values at fault. The function f must not change the
// slice.
//
//	in   --(1x3)--------(45)--|
//	out  --a-c----------d-e---|
//
// Order: kept; with flow.Unordered kept within a batch. Acks: carried by the result; a value that fails, fails alone.
// Holds: the current batch. Ends: when in ends.
func MapBatch[T, U any](
	in flow.Source[[]T], f func(ctx context.Context, values []T) ([]U, error), opts ...flow.StageOption,
) flow.Source[U] {
	called := flow.Via(in, "map-batch", func() flow.Handler[[]T, *mapped[T, U]] {
		return flow.HandlerFunc[[]T, *mapped[T, U]](
			func(ctx context.Context, m flow.Message[[]T], emit flow.Emit[*mapped[T, U]]) error {
				return mapBatch(ctx, m, f, emit)
			})
	}, with(opts, stateless, function("f", f != nil))...)
	return flow.Step(called, "map-batch-value", func() flow.StepFunc[*mapped[T, U], U] {
		return func(ctx context.Context, m flow.Message[*mapped[T, U]]) (flow.Message[U], bool, error) {
			v, err := m.Value.settle(ctx, opts, f)
			return flow.Derive(m, v), true, err
		}
	}, flow.CallOptions(opts...))
}

// mapped is the result of one value.
type mapped[T, U any] struct {
	result U
	value  T     // of a value that failed
	err    error // of a value that failed; nil once it has been returned
	failed bool
}

// mapBatch calls f with a batch, and emits the result of each value.
func mapBatch[T, U any](
	ctx context.Context,
	m flow.Message[[]T],
	f func(context.Context, []T) ([]U, error),
	emit flow.Emit[*mapped[T, U]],
) error {
	values := m.Value
	if len(values) == 0 {
		return nil
	}
	all := make([]mapped[T, U], len(values))
	var partial *flow.WriteError
	results, err := f(ctx, values)
	if err != nil && (!errors.As(err, &partial) || len(partial.Errs) != len(all)) {
		return err
	}
	if partial == nil && len(results) != len(all) {
		return wrongResults(len(results), len(all))
	}
	apart := len(all) == m.Joined()
	for i := range all {
		if partial != nil && partial.Errs[i] != nil {
			all[i] = mapped[T, U]{value: m.Value[i], err: partial.Errs[i], failed: true}
		} else if i < len(results) {
			all[i].result = results[i]
		} else {
			return wrongResults(len(results), len(all))
		}
		if apart {
			emit(flow.Member(m, i, &all[i]))
		} else {
			emit(flow.Derive(m, &all[i]))
		}
	}
	return nil
}

func wrongResults(have, want int) error {
	return fmt.Errorf("operators: map-batch: f returned %d results for %d values: return one per value", have, want)
}

// settle returns the result of a value. The first call for a value that failed returns its error;
// later calls are retries.
func (a *mapped[T, U]) settle(
	ctx context.Context, opts []flow.StageOption, f func(context.Context, []T) ([]U, error),
) (u U, err error) {
	if !a.failed {
		return a.result, nil
	}
	if err := a.err; err != nil {
		a.err = nil
		return u, err
	}
	results, err := flow.Surrounded(ctx, opts, func(ctx context.Context) ([]U, error) { return f(ctx, []T{a.value}) })
	var partial *flow.WriteError
	if errors.As(err, &partial) && len(partial.Errs) == 1 {
		err = partial.Errs[0]
	}
	if err == nil && len(results) != 1 {
		err = wrongResults(len(results), 1)
	}
	if err != nil {
		return u, err
	}
	return results[0], nil
}
