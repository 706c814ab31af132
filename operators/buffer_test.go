package operators_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// slowly is a sink that takes a second per value.
func slowly[T any]() *box[T] {
	return &box[T]{each: func(ctx context.Context, _ T) error { return wait(ctx, time.Second) }}
}

func TestBuffer(t *testing.T) {
	for _, test := range []struct {
		name string
		over operators.Overflow
		want []int
		lost flow.Outcome
	}{
		// 0 is being written and 1 waits in the edge while the buffer fills.
		{"block", operators.Block, sequence(20), 0},
		{"drop the oldest", operators.DropOldest, []int{0, 1, 17, 18, 19}, flow.Dropped},
		{"drop the newest", operators.DropNewest, []int{0, 1, 2, 3, 4}, flow.Dropped},
		{"fail", operators.Fail, []int{0, 1, 2, 3, 4}, flow.Dead},
	} {
		virtual(t, test.name, func(t *testing.T) {
			in, out := numbers(20), slowly[int]()
			in.every = time.Millisecond
			run(
				t,
				flow.To(
					operators.Buffer(in.source(), 3, test.over, flow.OnFault(flow.DeadLetter)),
					out.sink(),
					flow.ChunkSize(1),
				),
			)
			out.want(t, test.want...)
			lost := make(map[int]flow.Outcome)
			for i := range 20 {
				if !slices.Contains(test.want, i) {
					lost[i] = test.lost
				}
			}
			in.outcomes(t, lost)
		})
	}
	virtual(t, "stop the graph", func(t *testing.T) {
		in, out := numbers(20), slowly[int]()
		in.every = time.Millisecond
		b := operators.Buffer(in.source(), 3, operators.Fail, flow.OnFault(flow.Stop))
		err := flow.New("test", flow.To(b, out.sink(), flow.ChunkSize(1))).Run(t.Context())
		var failed *flow.StageError
		if !errors.Is(err, operators.ErrOverflow) || !errors.As(err, &failed) || failed.Stage != "buffer" {
			t.Errorf("%v", err)
		}
		if in.open != 0 {
			t.Errorf("%d entries are not settled", in.open)
		}
	})
	virtual(t, "passes on at once while the output keeps up", func(t *testing.T) {
		in, out := numbers(5), &box[int]{}
		in.every, in.stays = time.Second, true
		began := time.Now()
		r := start(t, flow.To(operators.Buffer(in.source(), 3, operators.Block), out.sink()))
		time.Sleep(time.Minute)
		out.after(t, began, second, 2*second, 3*second, 4*second, 5*second)
		in.allSettledAs(t, flow.Acked)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	virtual(t, "the input is not slowed down", func(t *testing.T) {
		in, out := numbers(10), slowly[int]()
		in.stays = true
		r := start(t, flow.To(operators.Buffer(in.source(flow.ChunkSize(1)), 10, operators.Block), out.sink(),
			flow.ChunkSize(1)))
		synctest.Wait()
		if in.most != 10 {
			t.Errorf("%d entries were read, want 10", in.most)
		}
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		out.want(t, sequence(10)...)
	})
	virtual(t, "a stop gives the buffer back", func(t *testing.T) {
		in, out := numbers(10), slowly[int]()
		in.stays = true
		r := start(t, flow.To(operators.Buffer(in.source(), 10, operators.Block), out.sink(), flow.ChunkSize(1)))
		time.Sleep(2500 * time.Millisecond)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		out.want(t, 0, 1)
		in.unfinished(t, out.values())
	})
	virtual(t, "a slow stage before it does not delay the output", func(t *testing.T) {
		in, out := numbers(4), slowly[int]()
		in.every = time.Millisecond // so that each is passed on by itself
		slow := operators.Map(in.source(), func(ctx context.Context, v int) (int, error) {
			if v == 3 {
				return v, wait(ctx, time.Hour)
			}
			return v, nil
		})
		began := time.Now()
		run(t, flow.To(operators.Buffer(slow, 3, operators.Block), out.sink(), flow.ChunkSize(1)))
		if took := out.at[2].Sub(began); took > 4*second {
			t.Errorf("the third value came after %v", took)
		}
	})
}

func TestConflate(t *testing.T) {
	one := func(v int) []int { return []int{v} }
	add := func(s []int, v int) []int { return append(slices.Clip(s), v) }
	virtual(t, "combines what comes while the output is busy", func(t *testing.T) {
		in, out := numbers(10), slowly[[]int]()
		in.every = 300 * time.Millisecond
		run(t, flow.To(operators.Conflate(in.source(), 100, one, add), out.sink(), flow.ChunkSize(1)))
		for i, s := range out.values() {
			if i > 2 && len(s) < 3 && i < len(out.values())-2 {
				t.Errorf("summary %d is %v", i, s)
			}
		}
		if got := slices.Concat(out.values()...); !slices.Equal(got, sequence(10)) {
			t.Errorf("the summaries have %v", got)
		}
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "no more than the most", func(t *testing.T) {
		in, out := numbers(100), slowly[[]int]()
		run(t, flow.To(operators.Conflate(in.source(), 7, one, add), out.sink(), flow.ChunkSize(1)))
		for i, s := range out.values() {
			if len(s) > 7 || i > 1 && len(s) < 7 && i < len(out.values())-1 {
				t.Errorf("summary %d has %d values", i, len(s))
			}
		}
		if got := slices.Concat(out.values()...); !slices.Equal(got, sequence(100)) {
			t.Errorf("the summaries have %v", got)
		}
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "while the output keeps up each value is a summary", func(t *testing.T) {
		in, out := numbers(3), &box[[]int]{}
		in.every = time.Second
		run(t, flow.To(operators.Conflate(in.source(), 7, one, add), out.sink()))
		out.want(t, []int{0}, []int{1}, []int{2})
	})
	virtual(t, "a panic costs its own message only", func(t *testing.T) {
		in, out := numbers(12), slowly[[]int]()
		ok := func(v int) int {
			if v%5 == 4 {
				panic(errBoom)
			}
			return v
		}
		c := operators.Conflate(in.source(), 3, func(v int) []int { return one(ok(v)) },
			func(s []int, v int) []int { return add(s, ok(v)) }, flow.OnFault(flow.DeadLetter))
		run(t, flow.To(c, out.sink(), flow.ChunkSize(1)))
		in.outcomes(t, map[int]flow.Outcome{4: flow.Dead, 9: flow.Dead})
		if got := slices.Concat(out.values()...); !slices.Equal(got, []int{0, 1, 2, 3, 5, 6, 7, 8, 10, 11}) {
			t.Errorf("the summaries have %v", got)
		}
	})
}

func TestExtrapolate(t *testing.T) {
	virtual(t, "invents values while the output waits", func(t *testing.T) {
		in, out := newFeed(0, 100), slowly[int]()
		in.every = 5500 * time.Millisecond
		all := operators.Extrapolate(
			in.source(),
			func(last, n int) (int, bool) { return last + n, n <= 3 && last == 0 },
		)
		run(t, flow.To(all, out.sink(), flow.ChunkSize(1)))
		out.want(t, 0, 1, 2, 3, 100)
		in.allSettledAs(t, flow.Acked)
		if out.meta[1].ID != "" {
			t.Errorf("an invented value has the metadata of entry %s", out.meta[1].ID)
		}
	})
	virtual(t, "a real value does not wait for many invented ones", func(t *testing.T) {
		in, out := newFeed(0, 1000), slowly[int]()
		in.every = 10500 * time.Millisecond
		all := operators.Extrapolate(in.source(), func(last, n int) (int, bool) { return last + n, true })
		run(t, flow.To(all, out.sink(), flow.ChunkSize(1)))
		at := slices.Index(out.values(), 1000)
		if at < 9 || at > 13 {
			t.Errorf("the second value comes after %d others", at)
		}
	})
	virtual(t, "a panic ends the inventions for its value", func(t *testing.T) {
		in, out := newFeed(10, 20), slowly[int]()
		in.every = 5 * time.Second
		all := operators.Extrapolate(in.source(), func(last, n int) (int, bool) {
			if last == 10 && n == 2 {
				panic(errBoom)
			}
			return last + n, n <= 2 && last == 10
		})
		run(t, flow.To(all, out.sink(), flow.ChunkSize(1)))
		out.want(t, 10, 11, 20)
		in.allSettledAs(t, flow.Acked)
	})
}
