package flow

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
)

// Bisect makes a function over a slice isolate its bad values. When f fails, it is called again with
// each half of the slice, and so on, until the values that make it fail are found. The function
// returns a *WriteError with an error for each of these, so only they fail:
//
//	sink.Batches(flow.Bisect(insert))
//	flow.To(operators.Batch(rows, 500, time.Second), sink.Func(flow.Bisect(insert)))
//
// f must do all or nothing, as a transaction does: a call that fails must leave nothing behind. One
// bad value of n costs about 2·log2(n) more calls, and many cost at most 2n. If nothing has
// succeeded after about 2·log2(n) calls, the values are not the cause, but a server that is away,
// for example. Then all values fail with the first error.
//
// A verdict (Skip, RetryAfter, Reject), a Permanent error, and any error after ctx is done are
// returned as they are. If f itself returns a *WriteError with an error per value, it is kept. A
// panic of f is an error too.
func Bisect[T any](f func(ctx context.Context, values []T) error) func(ctx context.Context, values []T) error {
	if f == nil {
		return nil // Validate reports the nil function for the stage that receives it
	}
	each := BisectResults(func(ctx context.Context, values []T) ([]struct{}, error) {
		err := f(ctx, values)
		return make([]struct{}, len(values)), err
	})
	return func(ctx context.Context, values []T) error {
		_, err := each(ctx, values)
		return err
	}
}

// BisectResults is Bisect for a function that returns a result per value, such as that of
// operators.MapBatch. The results of the values that failed are zero.
func BisectResults[T, U any](
	f func(ctx context.Context, values []T) ([]U, error),
) func(ctx context.Context, values []T) ([]U, error) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, values []T) ([]U, error) {
		results, err := guardResults(ctx, values, f)
		if err == nil || whole(ctx, err, len(values)) {
			return results, err
		}
		b := &bisection[T, U]{f: f, results: make([]U, len(values)), errs: make([]error, len(values)), failed: 1}
		b.patience = 2 * (bits.Len(uint(len(values))) + 1)
		half := len(values) / 2
		b.search(ctx, values[:half], 0)
		b.search(ctx, values[half:], half)
		if b.stop != nil {
			return nil, b.stop
		}
		if b.worked == 0 && b.failed >= b.patience {
			return nil, err
		}
		return b.results, &WriteError{Errs: b.errs}
	}
}

// whole reports that an error is not about values to be searched for.
func whole(ctx context.Context, err error, n int) bool {
	var partial *WriteError
	if errors.As(err, &partial) && len(partial.Errs) == n {
		return true
	}
	return n < 2 || decided(ctx, err)
}

// decided reports an error that is not about any value.
func decided(ctx context.Context, err error) bool {
	_, verdict := Verdict(err)
	return verdict || IsPermanent(err) || ctx.Err() != nil
}

// bisection is the search for the bad values of one slice.
type bisection[T, U any] struct {
	f        func(context.Context, []T) ([]U, error)
	results  []U
	errs     []error
	failed   int
	worked   int
	patience int   // calls that may fail before one has worked
	stop     error // ends the search; all values fail with it
}

// search calls f with a part of the slice that begins at index from.
func (b *bisection[T, U]) search(ctx context.Context, values []T, from int) {
	if b.stop != nil || b.worked == 0 && b.failed >= b.patience {
		return
	}
	results, err := guardResults(ctx, values, b.f)
	if err == nil {
		b.worked++
		copy(b.results[from:], results)
		return
	}
	b.failed++
	var partial *WriteError
	switch {
	case errors.As(err, &partial) && len(partial.Errs) == len(values):
		b.worked++
		copy(b.results[from:], results)
		copy(b.errs[from:], partial.Errs)
	case len(values) == 1:
		b.errs[from] = err
		if IsPermanent(err) || ctx.Err() != nil {
			b.stop = err
		}
	case decided(ctx, err):
		b.stop = err
	default:
		half := len(values) / 2
		b.search(ctx, values[:half], from)
		b.search(ctx, values[half:], from+half)
	}
}

// guardResults calls f, returns its panic as an error, and checks the number of its results.
func guardResults[T, U any](
	ctx context.Context, values []T, f func(context.Context, []T) ([]U, error),
) (results []U, err error) {
	defer Catch(&err)
	if results, err = f(ctx, values); err == nil && len(results) != len(values) {
		err = fmt.Errorf("flow: the function returned %s for %s: return one per value",
			plural(len(results), "result"), plural(len(values), "value"))
	}
	return results, err
}
