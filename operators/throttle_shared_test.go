package operators_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

func TestThrottleCost(t *testing.T) {
	cost := func(v int) int { return v }
	virtual(t, "each by its cost", func(t *testing.T) {
		in, out := newFeed(1, 2, 0, 3, 1), &box[int]{}
		began := time.Now()
		run(t, flow.To(operators.ThrottleCost(in.source(), 1, second, 3, cost), out.sink()))
		out.want(t, 1, 2, 0, 3, 1)
		for i, want := range []time.Duration{0, 0, 0, 3 * second, 4 * second} {
			if got := out.at[i].Sub(began); !about(got, want) {
				t.Errorf("value %d after %v, want %v", i, got, want)
			}
		}
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "more than a burst", func(t *testing.T) {
		in, out := newFeed(10, 1, 7, 1), &box[int]{}
		began := time.Now()
		run(t, flow.To(operators.ThrottleCost(in.source(), 1, second, 3, cost), out.sink()))
		// The first three units are there. After 10 units nothing is left.
		for i, want := range []time.Duration{7 * second, 8 * second, 15 * second, 16 * second} {
			if got := out.at[i].Sub(began); !about(got, want) {
				t.Errorf("value %d after %v, want %v", i, got, want)
			}
		}
	})
	virtual(t, "a bad cost is a fault of its message", func(t *testing.T) {
		in, out := newFeed(1, -1, 2, 99), &box[int]{}
		run(t, flow.To(operators.ThrottleCost(in.source(), 1, second, 3, func(v int) int {
			if v == 99 {
				panic(errBoom)
			}
			return v
		}, flow.OnFault(flow.DeadLetter)), out.sink()))
		out.want(t, 1, 2)
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead, 3: flow.Dead})
	})
	virtual(t, "a stop ends the wait", func(t *testing.T) {
		in, out := newFeed(1, 1<<40), &box[int]{}
		in.stays = true
		r := start(t, flow.To(operators.ThrottleCost(in.source(), 1, second, 1, cost), out.sink()))
		time.Sleep(second)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		in.outcomes(t, map[int]flow.Outcome{1: flow.Nacked})
	})
}

// windows is a Limiter in memory that grants some units in each window.
type windows struct {
	most int
	per  time.Duration

	mu    sync.Mutex
	left  int
	until time.Time
	calls int
	err   error // of the next calls
	empty bool  // grants nothing and no time
}

func (w *windows) Take(_ context.Context, want int) (got int, wait time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.err != nil || w.empty {
		return 0, 0, w.err
	}
	now := time.Now()
	if !now.Before(w.until) {
		w.left, w.until = w.most, now.Add(w.per)
	}
	got = min(want, w.left)
	if w.left -= got; got < want {
		wait = w.until.Sub(now)
	}
	return got, wait, nil
}

func TestThrottleShared(t *testing.T) {
	virtual(t, "as the limit grants", func(t *testing.T) {
		in, out := numbers(7), &box[int]{}
		in.stays = true
		began := time.Now()
		r := start(t, flow.To(operators.ThrottleShared(in.source(), &windows{most: 3, per: second}, nil), out.sink()))
		time.Sleep(1500 * time.Millisecond)
		if n := in.count(); n != 6 {
			t.Errorf("%d messages are acked while others wait, want 6", n)
		}
		time.Sleep(time.Minute)
		out.want(t, sequence(7)...)
		out.after(t, began, 0, 0, 0, second, second, second, 2*second)
		in.allSettledAs(t, flow.Acked)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	virtual(t, "two graphs share it", func(t *testing.T) {
		limit := &windows{most: 10, per: second}
		began := time.Now()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				in, out := numbers(50), &box[int]{}
				run(t, flow.To(operators.ThrottleShared(in.source(), limit, nil), out.sink()))
				out.want(t, sequence(50)...)
			})
		}
		all.Wait()
		if took := time.Since(began); took != 9*second {
			t.Errorf("100 messages at 10 a second took %v", took)
		}
	})
	virtual(t, "a message that costs more than a window", func(t *testing.T) {
		in, out := newFeed(1, 25, 0, 4), &box[int]{}
		began := time.Now()
		limit := &windows{most: 10, per: second}
		run(t, flow.To(operators.ThrottleShared(in.source(), limit, func(v int) int { return v }), out.sink()))
		out.want(t, 1, 25, 0, 4)
		out.after(t, began, 0, 2*second, 2*second, 2*second)
	})
	virtual(t, "a bad cost is a fault of its message", func(t *testing.T) {
		in, out := newFeed(1, -1, 99, 2), &box[int]{}
		failed := false
		cost := func(v int) int {
			if v == 99 && !failed {
				failed = true
				panic(errBoom)
			}
			return v
		}
		limit := &windows{most: 10, per: second}
		run(t, flow.To(operators.ThrottleShared(in.source(), limit, cost,
			flow.OnFault(flow.RetryEvery(1, second, flow.DeadLetter))), out.sink()))
		out.want(t, 1, 99, 2)
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead})
	})
	virtual(t, "while the limit cannot be asked the policy decides", func(t *testing.T) {
		in, out := numbers(3), &box[int]{}
		limit := &windows{most: 10, per: second, err: errBoom}
		time.AfterFunc(2500*time.Millisecond, func() {
			limit.mu.Lock()
			defer limit.mu.Unlock()
			limit.err = nil
		})
		run(t, flow.To(operators.ThrottleShared(in.source(), limit, nil,
			flow.OnFault(flow.RetryEvery(10, second, nil))), out.sink()))
		out.want(t, 0, 1, 2)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a limit that grants neither units nor time", func(t *testing.T) {
		in, out := numbers(3), &box[int]{}
		run(t, flow.To(operators.ThrottleShared(in.source(), &windows{empty: true}, nil,
			flow.OnFault(flow.RetryEvery(1, second, flow.DeadLetter))), out.sink()))
		out.want(t)
		in.allSettledAs(t, flow.Dead)
	})
	virtual(t, "a stop ends the wait", func(t *testing.T) {
		in, out := numbers(5), &box[int]{}
		in.stays = true
		limit := &windows{most: 2, per: time.Hour}
		r := start(t, flow.To(operators.ThrottleShared(in.source(), limit, nil), out.sink()))
		time.Sleep(second)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		out.want(t, 0, 1)
		in.unfinished(t, out.values())
	})
}
