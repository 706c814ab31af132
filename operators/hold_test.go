package operators_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// after checks the times at which values reached a sink.
func (b *box[T]) after(t *testing.T, began time.Time, want ...time.Duration) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []time.Duration
	for _, at := range b.at {
		got = append(got, at.Sub(began))
	}
	if !slices.Equal(got, want) {
		t.Errorf("values came after %v, want %v", got, want)
	}
}

const second = time.Second

func TestDelay(t *testing.T) {
	virtual(t, "by due time, equal ones in order", func(t *testing.T) {
		in, out := newFeed(3, 1, 2, 1, 0, -5), &box[int]{}
		began := time.Now()
		run(t, flow.To(operators.Delay(in.source(), 10, func(v int) time.Duration {
			return time.Duration(v) * second
		}), out.sink()))
		out.want(t, 0, -5, 1, 1, 2, 3)
		out.after(t, began, 0, 0, second, second, 2*second, 3*second)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "the stream waits when n messages wait", func(t *testing.T) {
		in, out := numbers(6), &box[int]{}
		began := time.Now()
		run(t, flow.To(operators.Delay(in.source(), 2, func(int) time.Duration { return second }), out.sink()))
		out.want(t, sequence(6)...)
		out.after(t, began, second, second, 2*second, 2*second, 3*second, 3*second)
	})
	virtual(t, "while messages come and at the end", func(t *testing.T) {
		in, out := numbers(3), &box[int]{}
		in.every = second
		began := time.Now()
		run(t, flow.To(operators.Delay(in.source(), 5, func(int) time.Duration { return 1500 * time.Millisecond }),
			out.sink()))
		out.after(t, began, 2500*time.Millisecond, 3500*time.Millisecond, 4500*time.Millisecond)
	})
	virtual(t, "a panic costs its own message only", func(t *testing.T) {
		in, out := numbers(4), &box[int]{}
		run(t, flow.To(operators.Delay(in.source(), 5, func(v int) time.Duration {
			if v == 2 {
				panic(errBoom)
			}
			return second
		}, flow.OnFault(flow.DeadLetter)), out.sink()))
		out.want(t, 0, 1, 3)
		in.outcomes(t, map[int]flow.Outcome{2: flow.Dead})
	})
	virtual(t, "a stop gives back what waits", func(t *testing.T) {
		for _, full := range []bool{false, true} {
			in, out := numbers(4), &box[int]{}
			in.stays = true
			n := 10
			if full {
				n = 2
			}
			r := start(
				t,
				flow.To(operators.Delay(in.source(), n, func(int) time.Duration { return time.Hour }), out.sink()),
			)
			time.Sleep(time.Minute)
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
			out.want(t)
			in.allSettledAs(t, flow.Nacked)
		}
	})
	virtual(t, "a drain that takes too long gives back what waits", func(t *testing.T) {
		in, out := numbers(4), &box[int]{}
		in.stays = true
		d := operators.Delay(in.source(), 10, func(v int) time.Duration { return time.Duration(v) * time.Minute })
		r := start(t, flow.To(d, out.sink()))
		time.Sleep(second)
		if _, err := r.Drain(t.Context()); err == nil {
			t.Error("the drain ended well")
		}
		out.want(t, 0)
	})
}

func TestDebounce(t *testing.T) {
	type ev = event
	key := func(e ev) string { return e.Key }
	virtual(t, "the last value of each key", func(t *testing.T) {
		in, out := newFeed(ev{"a", 1}, ev{"a", 2}, ev{"b", 1}, ev{"a", 3}), &box[ev]{}
		in.every, in.stays = second, true
		began := time.Now()
		r := start(t, flow.To(operators.Debounce(in.source(), 10, 5*second, 0, key), out.sink()))
		time.Sleep(time.Minute)
		out.want(t, ev{"b", 1}, ev{"a", 3})
		out.after(t, began, 8*second, 9*second)
		in.allSettledAs(t, flow.Acked)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	virtual(t, "at most so long", func(t *testing.T) {
		in, out := numbers(20), &box[int]{}
		in.every = second
		began := time.Now()
		run(
			t,
			flow.To(
				operators.Debounce(in.source(), 10, 2*second, 4500*time.Millisecond, func(int) int { return 0 }),
				out.sink(),
			),
		)
		out.want(t, 4, 9, 14, 19)
		out.after(t, began, 5500*time.Millisecond, 10500*time.Millisecond, 15500*time.Millisecond, 20*second)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "one key too many", func(t *testing.T) {
		in, out := newFeed(ev{"a", 1}, ev{"b", 1}, ev{"a", 2}, ev{"c", 1}), &box[ev]{}
		in.every, in.stays = second, true
		began := time.Now()
		r := start(t, flow.To(operators.Debounce(in.source(), 2, time.Minute, 0, key), out.sink()))
		time.Sleep(30 * second)
		out.want(t, ev{"b", 1}) // it falls due first
		out.after(t, began, 4*second)
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		out.want(t, ev{"b", 1}, ev{"a", 2}, ev{"c", 1})
	})
	virtual(t, "keys that cannot be found again", func(t *testing.T) {
		keys := []any{1, math.NaN(), []int{1}, "panic", "x"}
		in, out := numbers(len(keys)), &box[int]{}
		run(t, flow.To(operators.Debounce(in.source(), 5, second, 0, func(i int) any {
			if keys[i] == any("panic") {
				panic(errBoom)
			}
			return keys[i]
		}, flow.OnFault(flow.DeadLetter)), out.sink()))
		out.want(t, 0, 4)
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead, 2: flow.Dead, 3: flow.Dead})
	})
}
