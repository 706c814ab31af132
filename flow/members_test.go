package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

var errRow = errors.New("bad row")

// inserter is a function that fails as a whole if a slice contains a bad value.
type inserter struct {
	bad      func(int) error
	calls    int
	inserted []int
}

func (in *inserter) insert(_ context.Context, rows []int) error {
	in.calls++
	for _, r := range rows {
		if err := in.bad(r); err != nil {
			return err
		}
	}
	in.inserted = append(in.inserted, rows...)
	return nil
}

func oneOf(bad ...int) func(int) error {
	return func(v int) error {
		if slices.Contains(bad, v) {
			return errRow
		}
		return nil
	}
}

func TestBisect(t *testing.T) {
	rows := make([]int, 100)
	for i := range rows {
		rows[i] = i
	}
	for _, test := range []struct {
		name string
		bad  []int
		most int // calls
	}{
		{"none", nil, 1},
		{"the first", []int{0}, 16},
		{"the last", []int{99}, 16},
		{"one in the middle", []int{42}, 16},
		{"three", []int{3, 4, 90}, 45},
		{"the first two", []int{0, 1}, 25},
		{"every second but the first", everySecond(rows), 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := &inserter{bad: oneOf(test.bad...)}
			err := flow.Bisect(in.insert)(t.Context(), rows)
			var failed []int
			var partial *flow.WriteError
			if errors.As(err, &partial) {
				for i, err := range partial.Errs {
					if err != nil {
						failed = append(failed, i)
					}
				}
			}
			if diff := cmp.Diff(test.bad, failed); diff != "" {
				t.Errorf("failed rows (-want +got):\n%s", diff)
			}
			if len(in.inserted)+len(failed) != len(rows) {
				t.Errorf("%d rows inserted and %d failed", len(in.inserted), len(failed))
			}
			if in.calls > test.most {
				t.Errorf("%d calls, want at most %d", in.calls, test.most)
			}
		})
	}
}

func everySecond(rows []int) (odd []int) {
	for _, v := range rows {
		if v%2 == 1 {
			odd = append(odd, v)
		}
	}
	return odd
}

// A fault that is not about a value is not searched for.
func TestBisectGivesUp(t *testing.T) {
	rows := make([]int, 1000)
	away := errors.New("the server is away")
	for name, test := range map[string]struct {
		err  error
		most int
	}{
		"all fail":  {away, 25},
		"verdict":   {flow.Reject(away), 1},
		"permanent": {flow.Permanent(away), 1},
	} {
		in := &inserter{bad: func(int) error { return test.err }}
		err := flow.Bisect(in.insert)(t.Context(), rows)
		if !errors.Is(err, test.err) || in.calls > test.most {
			t.Errorf("%s: %v after %d calls", name, err, in.calls)
		}
		var partial *flow.WriteError
		if errors.As(err, &partial) {
			t.Errorf("%s: an error per value", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := flow.Bisect(func(ctx context.Context, _ []int) error {
		if calls++; calls == 3 {
			cancel()
			return ctx.Err()
		}
		return away
	})(ctx, rows)
	if !errors.Is(err, context.Canceled) || calls != 3 {
		t.Errorf("cancelled: %v after %d calls", err, calls)
	}
}

// Halves may end with a verdict, with errors of their own, or with the last value of all.
func TestBisectParts(t *testing.T) {
	stop := flow.Permanent(errRow)
	for name, test := range map[string]struct {
		of   func(rows []int) error
		want error // of the whole; else errs
		errs []error
	}{
		"a verdict for one value": {func(rows []int) error {
			if len(rows) == 1 && rows[0] == 2 {
				return flow.Skip
			}
			return oneOfRows(rows, 2)
		}, nil, []error{nil, nil, flow.Skip, nil}},
		"a verdict for a half": {func(rows []int) error {
			if len(rows) == 2 {
				return flow.Skip
			}
			return errRow
		}, flow.Skip, nil},
		"permanent for one value": {func(rows []int) error {
			if len(rows) == 1 && rows[0] == 2 {
				return stop
			}
			return oneOfRows(rows, 2)
		}, stop, nil},
		"errors per value of a half": {func(rows []int) error {
			if len(rows) == 2 && rows[0] == 2 {
				return &flow.WriteError{Errs: []error{nil, errRow}}
			}
			return oneOfRows(rows, 3)
		}, nil, []error{nil, nil, nil, errRow}},
		"errors per value of all": {func([]int) error {
			return &flow.WriteError{Errs: []error{nil, errRow, nil, nil}}
		}, nil, []error{nil, errRow, nil, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			err := flow.Bisect(func(_ context.Context, rows []int) error { return test.of(rows) })(
				t.Context(), []int{0, 1, 2, 3})
			var partial *flow.WriteError
			switch {
			case test.want != nil:
				if !errors.Is(err, test.want) || errors.As(err, &partial) {
					t.Errorf("%v", err)
				}
			case !errors.As(err, &partial) || !slices.Equal(partial.Errs, test.errs):
				t.Errorf("%v, want errors %v", err, test.errs)
			}
		})
	}
}

func oneOfRows(rows []int, bad int) error {
	if slices.Contains(rows, bad) {
		return errRow
	}
	return nil
}

func TestBisectResults(t *testing.T) {
	double := flow.BisectResults(func(_ context.Context, vs []int) ([]int, error) {
		out := make([]int, 0, len(vs))
		for _, v := range vs {
			if v == 3 {
				panic("three")
			}
			out = append(out, 2*v)
		}
		return out, nil
	})
	got, err := double(t.Context(), []int{1, 2, 3, 4, 5})
	var partial *flow.WriteError
	var panicked *flow.PanicError
	if !errors.As(err, &partial) || !errors.As(partial.Errs[2], &panicked) || len(partial.Unwrap()) != 1 {
		t.Errorf("%v", err)
	}
	if want := []int{2, 4, 0, 8, 10}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	few := flow.BisectResults(func(context.Context, []int) ([]int, error) { return []int{1}, nil })
	if _, err := few(t.Context(), []int{1, 2, 3, 4, 5, 6, 7, 8}); err == nil {
		t.Error("too few results are no error")
	}
	if flow.Bisect[int](nil) != nil || flow.BisectResults[int, int](nil) != nil {
		t.Error("a nil function is wrapped: Validate cannot report it")
	}
}

// The insert refuses all rows if one of them is bad. Only that row is dropped.
func ExampleBisect() {
	insert := func(_ context.Context, rows []string) error {
		if slices.Contains(rows, "bad") {
			return errors.New("constraint violated")
		}
		fmt.Println("inserted", rows)
		return nil
	}
	rows := source.Of("a", "b", "bad", "c")
	together := sink.Batches(flow.Bisect(insert), flow.Within(time.Minute)) // waits for more rows
	g := flow.New("rows", flow.To(rows, together, flow.OnFault(flow.Drop)))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// inserted [a b]
	// inserted [c]
}

func ExampleBisectResults() {
	look := func(_ context.Context, ids []int) ([]string, error) {
		if slices.Contains(ids, 0) {
			return nil, errors.New("no such user")
		}
		return make([]string, len(ids)), nil
	}
	_, err := flow.BisectResults(look)(context.Background(), []int{4, 0, 7, 9})
	fmt.Println(err)
	// Output: 1 of 4 messages not written, the first: no such user
}
