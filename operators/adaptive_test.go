package operators_test

import (
	"context"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// sizesOf runs numbers through BatchAdaptive and a stage that takes the given time per batch.
func sizesOf(t *testing.T, n, most int, goal time.Duration, takes func(size int) time.Duration) []int {
	in, out := numbers(n), &box[[]int]{}
	batches := operators.BatchAdaptive(in.source(), most, goal)
	slow := operators.Map(batches, func(ctx context.Context, b []int) ([]int, error) {
		return b, wait(ctx, takes(len(b)))
	})
	run(t, flow.To(slow, out.sink()))
	var sizes, all []int
	for _, b := range out.values() {
		sizes, all = append(sizes, len(b)), append(all, b...)
	}
	if len(all) != n {
		t.Fatalf("%d of %d values arrived", len(all), n)
	}
	for i, v := range all {
		if v != i {
			t.Fatalf("value %d is at place %d", v, i)
		}
	}
	in.allSettledAs(t, flow.Acked)
	return sizes
}

func TestBatchAdaptive(t *testing.T) {
	virtual(t, "the size grows to the most while the goal is met", func(t *testing.T) {
		sizes := sizesOf(t, 3000, 64, time.Second, func(int) time.Duration { return time.Millisecond })
		if sizes[0] != 1 {
			t.Errorf("the first batch has %d values", sizes[0])
		}
		for i, n := range sizes {
			if n > 64 || i > 30 && i < len(sizes)-1 && n < 64 {
				t.Fatalf("batch %d has %d values", i, n)
			}
		}
	})
	virtual(t, "the size settles where a batch takes half of the goal", func(t *testing.T) {
		// 10 ms and 1 ms per value: 40 values take the half of 100 ms.
		sizes := sizesOf(t, 20000, 1000, 100*time.Millisecond, func(n int) time.Duration {
			return time.Duration(10+n) * time.Millisecond
		})
		sum, count := 0, 0
		for i, n := range sizes[len(sizes)/2 : len(sizes)-1] {
			if n < 15 || n > 46 {
				t.Errorf("batch %d of the second half has %d values, want 20 to 40", i, n)
			}
			sum, count = sum+n, count+1
		}
		if mean := sum / count; mean < 25 || mean > 40 {
			t.Errorf("a batch has %d values on average", mean)
		}
	})
	virtual(t, "a goal that cannot be met leaves batches of one", func(t *testing.T) {
		sizes := sizesOf(t, 200, 100, 10*time.Millisecond, func(int) time.Duration { return time.Second })
		if last := sizes[len(sizes)-1]; last != 1 {
			t.Errorf("the last batch has %d values", last)
		}
	})
	virtual(t, "by age", func(t *testing.T) {
		in, out := numbers(10), &box[[]int]{}
		in.every = 30 * time.Millisecond
		began := time.Now()
		run(t, flow.To(operators.BatchAdaptive(in.source(), 100, 200*time.Millisecond), out.sink()))
		for i, at := range out.at {
			oldest := began.Add(time.Duration(out.got[i][0]+1) * in.every)
			if waited := at.Sub(oldest); waited > 100*time.Millisecond {
				t.Errorf("%v waited for %v", out.got[i], waited)
			}
		}
		in.allSettledAs(t, flow.Acked)
	})
}
