package operators_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// texts is a function for MapBatch. It fails for single values.
func texts(bad func(int) error) func(context.Context, []int) ([]string, error) {
	return func(_ context.Context, values []int) ([]string, error) {
		out, errs := make([]string, len(values)), make([]error, len(values))
		failed := false
		for i, v := range values {
			out[i] = strconv.Itoa(v)
			errs[i] = bad(v)
			failed = failed || errs[i] != nil
		}
		if failed {
			return out, &flow.WriteError{Errs: errs}
		}
		return out, nil
	}
}

func badThree(v int) error {
	if v == 3 {
		return errBoom
	}
	return nil
}

func TestMapBatch(t *testing.T) {
	batches := func(in *feed[int]) flow.Source[[]int] { return operators.Batch(in.source(), 5, time.Second) }
	virtual(t, "one call per batch, each result with its own metadata", func(t *testing.T) {
		in, out := numbers(12), &box[string]{}
		var sizes []int
		run(t, flow.To(operators.MapBatch(batches(in), func(ctx context.Context, vs []int) ([]string, error) {
			sizes = append(sizes, len(vs))
			return texts(good)(ctx, vs)
		}), out.sink()))
		if !slices.Equal(sizes, []int{5, 5, 2}) {
			t.Errorf("calls with %v values", sizes)
		}
		for i, meta := range out.meta {
			if meta.ID != out.got[i] || len(meta.Members) != 0 {
				t.Errorf("%q has the metadata of %s, of %d", out.got[i], meta.ID, len(meta.Members))
			}
		}
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a bad value fails alone, by its own policy", func(t *testing.T) {
		in, out := numbers(12), &box[string]{}
		run(t, flow.To(operators.MapBatch(batches(in), texts(badThree), flow.OnFault(flow.DeadLetter)), out.sink()))
		out.want(t, "0", "1", "2", "4", "5", "6", "7", "8", "9", "10", "11")
		in.outcomes(t, map[int]flow.Outcome{3: flow.Dead})
	})
	virtual(t, "a retry calls with the value alone", func(t *testing.T) {
		in, out := numbers(5), &box[string]{}
		var calls [][]int
		f := func(_ context.Context, vs []int) ([]string, error) {
			calls = append(calls, slices.Clone(vs))
			if len(calls) < 4 {
				return texts(badThree)(t.Context(), vs)
			}
			return texts(good)(t.Context(), vs)
		}
		retried := flow.OnFault(flow.RetryEvery(5, time.Second, nil))
		run(t, flow.To(operators.MapBatch(batches(in), f, retried), out.sink()))
		if diff := cmp.Diff([][]int{{0, 1, 2, 3, 4}, {3}, {3}, {3}}, calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		out.want(t, "0", "1", "2", "3", "4")
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "another error is one of the batch", func(t *testing.T) {
		for name, f := range map[string]func() ([]string, error){
			"error":             func() ([]string, error) { return nil, errBoom },
			"panic":             func() ([]string, error) { panic(errBoom) },
			"too few results":   func() ([]string, error) { return []string{"a"}, nil },
			"wrong WriteError":  func() ([]string, error) { return nil, &flow.WriteError{Errs: []error{errBoom}} },
			"WriteError, short": func() ([]string, error) { return nil, &flow.WriteError{Errs: make([]error, 5)} },
		} {
			in, out := numbers(5), &box[string]{}
			run(t, flow.To(operators.MapBatch(batches(in),
				func(context.Context, []int) ([]string, error) { return f() }, flow.OnFault(flow.Nack)), out.sink()))
			if out.want(t); t.Failed() {
				t.Fatal(name)
			}
			in.allSettledAs(t, flow.Nacked)
		}
	})
	virtual(t, "a retry that returns too few results, or a WriteError", func(t *testing.T) {
		for _, again := range []error{nil, &flow.WriteError{Errs: []error{errBoom}}} {
			in, out, called := numbers(5), &box[string]{}, false
			f := func(_ context.Context, vs []int) ([]string, error) {
				if called {
					return nil, again
				}
				called = true
				return texts(badThree)(t.Context(), vs)
			}
			run(t, flow.To(operators.MapBatch(batches(in), f, flow.OnFault(flow.RetryEvery(1, 0, flow.DeadLetter))),
				out.sink()))
			in.outcomes(t, map[int]flow.Outcome{3: flow.Dead})
			if err := in.settled[3][0].Err(); again != nil && !errors.Is(err, errBoom) {
				t.Errorf("%v", err)
			}
		}
	})
	virtual(t, "slices that are no batch share one outcome", func(t *testing.T) {
		in, out := newFeed([]int{1, 2}, nil, []int{3, 4}), &box[string]{}
		run(t, flow.To(operators.MapBatch(in.source(), texts(badThree), flow.OnFault(flow.DeadLetter)), out.sink()))
		out.want(t, "1", "2", "4")
		in.outcomes(t, map[int]flow.Outcome{2: flow.Dead})
	})
	virtual(t, "bisection finds the bad value of a function that fails as a whole", func(t *testing.T) {
		in, out := numbers(12), &box[string]{}
		f := flow.BisectResults(func(_ context.Context, vs []int) ([]string, error) {
			if slices.Contains(vs, 3) {
				return nil, errBoom
			}
			return texts(good)(t.Context(), vs)
		})
		run(t, flow.To(operators.MapBatch(batches(in), f, flow.OnFault(flow.DeadLetter)), out.sink()))
		in.outcomes(t, map[int]flow.Outcome{3: flow.Dead})
	})
	virtual(t, "workers keep the order", func(t *testing.T) {
		in, out := numbers(60), &box[string]{}
		f := func(ctx context.Context, vs []int) ([]string, error) {
			if err := wait(ctx, time.Duration(100-vs[0])*time.Millisecond); err != nil {
				return nil, err
			}
			return texts(good)(ctx, vs)
		}
		run(t, flow.To(operators.MapBatch(batches(in), f, flow.Workers(4)), out.sink()))
		var want []string
		for i := range 60 {
			want = append(want, strconv.Itoa(i))
		}
		out.want(t, want...)
	})
}
