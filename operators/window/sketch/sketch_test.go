package sketch_test

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/streamerson/streamerson-go/operators/window"
	"github.com/streamerson/streamerson-go/operators/window/sketch"
)

// of adds values to an aggregate.
func of[T, A, R any](t *testing.T, agg window.Aggregate[T, A, R], values ...T) A {
	t.Helper()
	a := agg.New()
	for _, v := range values {
		var err error
		if a, err = agg.Add(a, v); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func TestDistinct(t *testing.T) {
	distinct := sketch.Distinct(func(v int) string { return strconv.Itoa(v) })
	var low, high, all []int
	for i := range 20_000 {
		all = append(all, i, i/2)
		if i < 12_000 {
			low = append(low, i)
		}
		if i >= 8_000 {
			high = append(high, i)
		}
	}
	whole := of(t, distinct, all...)
	merged := distinct.Merge(of(t, distinct, low...), of(t, distinct, high...))
	for name, got := range map[string]uint64{"whole": distinct.Result(whole), "merged": distinct.Result(merged)} {
		if math.Abs(float64(got)-20_000) > 600 {
			t.Errorf("%s: %d different values, want about 20000", name, got)
		}
	}
	if distinct.Result(whole) != distinct.Result(merged) {
		t.Error("the parts give another count than the whole")
	}
	few := of(t, distinct, 1, 2, 3, 2)
	if first, second := distinct.Result(few), distinct.Result(few); first != 3 || second != 3 {
		t.Errorf("%d and then %d different values, want 3", first, second)
	}
}

func TestQuantiles(t *testing.T) {
	self := func(v float64) float64 { return v }
	quantiles := sketch.Quantiles(self, -1, 0.5, 0.95, 2)
	var low, high []float64
	for i := range 10_001 {
		if v := float64(i); i%2 == 0 {
			low = append(low, v)
		} else {
			high = append(high, v)
		}
	}
	b := of(t, quantiles, high...)
	a := quantiles.Merge(of(t, quantiles, append(low, math.NaN(), math.Inf(1))...), b)
	got := quantiles.Result(a)
	for i, want := range []float64{0, 5000, 9500, 10_000} {
		if math.Abs(got[i]-want) > 100 {
			t.Errorf("quantile %d is %v, want about %v", i, got[i], want)
		}
	}
	if n := b.Count(); n != 5000 {
		t.Errorf("the merge has changed its argument: it has %d values", n)
	}
	if got := quantiles.Result(quantiles.New()); !math.IsNaN(got[1]) {
		t.Errorf("the median of nothing is %v", got[1])
	}
}

func ExampleDistinct() {
	visitors := sketch.Distinct(func(name string) string { return name })
	a := visitors.New()
	for _, name := range []string{"ann", "bob", "ann"} {
		a, _ = visitors.Add(a, name)
	}
	fmt.Println(visitors.Result(a))
	// Output:
	// 2
}

func ExampleQuantiles() {
	times := sketch.Quantiles(func(ms int) float64 { return float64(ms) }, 0.5)
	a := times.New()
	for ms := range 101 {
		a, _ = times.Add(a, ms)
	}
	fmt.Printf("%.0f\n", times.Result(a)[0])
	// Output:
	// 50
}
