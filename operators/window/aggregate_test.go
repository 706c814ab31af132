package window_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/operators/window"
)

func self[T any](v T) T { return v }

// parts aggregates the values in two parts, merges them, and checks that this leaves the second as
// it was.
func parts[T, A, R any](t *testing.T, agg window.Aggregate[T, A, R], a, b []T) R {
	t.Helper()
	of := func(values []T) A {
		acc := agg.New()
		for _, v := range values {
			var err error
			if acc, err = agg.Add(acc, v); err != nil {
				t.Fatal(err)
			}
		}
		return acc
	}
	second := of(b)
	before := fmt.Sprint(agg.Result(second))
	r := agg.Result(agg.Merge(agg.Merge(agg.New(), of(a)), second))
	if after := fmt.Sprint(agg.Result(second)); after != before {
		t.Errorf("Merge has changed its second argument from %s to %s", before, after)
	}
	return r
}

func TestAggregates(t *testing.T) {
	nan := math.NaN()
	a, b := []float64{3, nan, -1}, []float64{nan, 4}
	got := map[string]any{
		"count":       parts(t, window.Count[float64](), a, b),
		"sum":         parts(t, window.Sum(self[float64]), a, b),
		"min":         parts(t, window.Min(self[float64]), a, b),
		"max":         parts(t, window.Max(self[float64]), a, b),
		"mean":        parts(t, window.Mean(self[float64]), a, b),
		"min of none": parts(t, window.Min(self[float64]), nil, []float64{nan}),
		"values":      parts(t, window.Values[int](3), []int{1, 2}, []int{3, 4}),
		"few values":  parts(t, window.Values[int](3), nil, []int{1}),
		"full values": parts(t, window.Values[int](2), []int{1, 2, 3}, []int{4}),
		"both": parts(t, window.Both(window.Count[int](), window.Sum(self[int]),
			func(n, sum int) string { return fmt.Sprint(n, " with ", sum) }), []int{1, 2}, []int{3}),
	}
	want := map[string]any{
		"count": 5, "sum": 6.0, "min": -1.0, "max": 4.0, "mean": 2.0, "min of none": 0.0,
		"values": []int{1, 2, 3}, "few values": []int{1}, "full values": []int{1, 2}, "both": "3 with 6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if mean := parts(t, window.Mean(self[float64]), nil, nil); !math.IsNaN(mean) {
		t.Errorf("the mean of nothing is %v", mean)
	}
}

func TestBoth_Error(t *testing.T) {
	bad := window.Count[int]()
	boom := errors.New("boom")
	bad.Add = func(int, int) (int, error) { return 0, boom }
	for _, both := range []window.Aggregate[int, window.Two[int, int], int]{
		window.Both(bad, window.Count[int](), func(a, _ int) int { return a }),
		window.Both(window.Count[int](), bad, func(a, _ int) int { return a }),
	} {
		if _, err := both.Add(both.New(), 1); !errors.Is(err, boom) {
			t.Errorf("error %v, want that of the part", err)
		}
	}
}

func TestTopK(t *testing.T) {
	top := window.TopK(2, 10, self[string])
	got := parts(t, top, []string{"b", "a", "c", "a"}, []string{"c", "d", "c"})
	if diff := cmp.Diff([]window.Ranked[string]{{Value: "c", N: 3}, {Value: "a", N: 2}}, got); diff != "" {
		t.Errorf("top 2 (-want +got):\n%s", diff)
	}
	if got := parts(t, window.TopK(0, 0, self[float64]), []float64{1, math.NaN()}, nil); len(got) != 0 {
		t.Errorf("top 0 has %v", got)
	}
}

// TestTopK_Bounds compares counts of more values than counters with exact ones.
func TestTopK_Bounds(t *testing.T) {
	const counters = 20
	rng := rand.New(rand.NewPCG(1, 2))
	var a, b []int
	exact := make(map[int]int)
	for range 2000 {
		v := int(math.Abs(rng.NormFloat64() * 15))
		exact[v]++
		if rng.IntN(2) == 0 {
			a = append(a, v)
		} else {
			b = append(b, v)
		}
	}
	got := parts(t, window.TopK(5, counters, self[int]), a, b)
	if len(got) != 5 || !slices.IsSortedFunc(got, func(x, y window.Ranked[int]) int { return y.N - x.N }) {
		t.Errorf("the top 5 are %v", got)
	}
	for _, r := range got {
		if n := exact[r.Value]; r.N < n || r.N-r.Error > n || r.Error > 2000/counters {
			t.Errorf("%v: the exact count is %d", r, n)
		}
	}
}

func ExampleTopK() {
	pages := window.TopK(1, 100, self[string])
	acc := pages.New()
	for _, page := range []string{"home", "docs", "home"} {
		acc, _ = pages.Add(acc, page)
	}
	fmt.Println(pages.Result(acc))
	// Output:
	// [{home 2 0}]
}
