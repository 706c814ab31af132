package operators_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

func TestBatch(t *testing.T) {
	virtual(t, "by count, the rest at the end", func(t *testing.T) {
		in, out := numbers(7), &box[[]int]{}
		run(t, flow.To(operators.Batch(in.source(), 3, 0), out.sink()))
		out.want(t, []int{0, 1, 2}, []int{3, 4, 5}, []int{6})
		in.allSettledAs(t, flow.Acked)
		if out.meta[1].ID != "3" {
			t.Errorf("the second batch has the metadata of entry %s", out.meta[1].ID)
		}
	})
	virtual(t, "of one", func(t *testing.T) {
		in, out := numbers(3), &box[[]int]{}
		run(t, flow.To(operators.Batch(in.source(), 1, time.Second), out.sink()))
		out.want(t, []int{0}, []int{1}, []int{2})
	})
	virtual(t, "of nothing", func(t *testing.T) {
		in, out := numbers(0), &box[[]int]{}
		run(t, flow.To(operators.Batch(in.source(), 3, time.Second), out.sink()))
		out.want(t)
	})
	virtual(t, "by age, counted from the first value", func(t *testing.T) {
		in, out := numbers(8), &box[[]int]{}
		in.every, in.stays = 400*time.Millisecond, true
		began := time.Now()
		r := start(t, flow.To(operators.Batch(in.source(), 100, time.Second), out.sink()))
		time.Sleep(time.Minute)
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		// The first value arrives at 0.4 s, so its batch is due at 1.4 s. The next value after that
		// arrives at 1.6 s.
		out.want(t, []int{0, 1, 2}, []int{3, 4, 5}, []int{6, 7})
		for i, want := range []time.Duration{1400, 2600, 3800} {
			if got := out.at[i].Sub(began); got != want*time.Millisecond {
				t.Errorf("batch %d went on after %v, want %v ms", i, got, int(want))
			}
		}
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a slow stage before it does not hold up its clock", func(t *testing.T) {
		in, out := numbers(10), &box[[]int]{}
		began := time.Now()
		slow := operators.Map(in.source(), func(ctx context.Context, v int) (int, error) {
			return v, wait(ctx, time.Second)
		})
		run(t, flow.To(operators.Batch(slow, 100, 2500*time.Millisecond), out.sink()))
		out.want(t, []int{0, 1, 2}, []int{3, 4, 5}, []int{6, 7, 8}, []int{9})
		if got := out.at[0].Sub(began); got != 3500*time.Millisecond {
			t.Errorf("the first batch went on after %v", got)
		}
	})
	virtual(t, "no entry is acked before its batch", func(t *testing.T) {
		in, out := numbers(5), &box[[]int]{}
		in.stays = true
		r := start(t, flow.To(operators.Batch(in.source(), 3, time.Hour), out.sink()))
		time.Sleep(time.Minute)
		if n := in.count(); n != 3 {
			t.Errorf("%d entries settled, want those of the full batch", n)
		}
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		out.want(t, []int{0, 1, 2}, []int{3, 4})
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "stop gives back what is held", func(t *testing.T) {
		in, out := numbers(5), &box[[]int]{}
		in.stays = true
		r := start(t, flow.To(operators.Batch(in.source(), 3, time.Hour), out.sink()))
		time.Sleep(time.Minute)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		out.want(t, []int{0, 1, 2})
		in.outcomes(t, map[int]flow.Outcome{3: flow.Nacked, 4: flow.Nacked})
	})
	virtual(t, "a batch fails as one", func(t *testing.T) {
		in := numbers(9)
		out := &box[[]int]{each: func(_ context.Context, b []int) error {
			switch b[0] {
			case 0:
				return flow.Reject(errBoom)
			case 3:
				panic("three")
			}
			return nil
		}}
		run(
			t,
			flow.To(
				operators.Batch(in.source(), 3, time.Second),
				out.sink(),
				flow.ChunkSize(1),
				flow.OnFault(flow.Nack),
			),
		)
		out.want(t, []int{6, 7, 8})
		in.outcomes(t, map[int]flow.Outcome{
			0: flow.Dead, 1: flow.Dead, 2: flow.Dead, 3: flow.Nacked, 4: flow.Nacked, 5: flow.Nacked,
		})
	})
	virtual(t, "of copies of one entry", func(t *testing.T) {
		in, out := numbers(4), &box[[]int]{}
		twice := operators.FlatMap(in.source(), func(_ context.Context, v int, emit func(int)) error {
			emit(v)
			emit(v)
			return nil
		})
		run(t, flow.To(operators.Batch(twice, 3, 0), out.sink()))
		out.want(t, []int{0, 0, 1}, []int{1, 2, 2}, []int{3, 3})
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "slices are the receiver's", func(t *testing.T) {
		in, out := numbers(6), &box[[]int]{each: func(_ context.Context, b []int) error {
			if cap(b) != len(b) {
				t.Errorf("capacity %d for %d values: an append may be seen by others", cap(b), len(b))
			}
			return nil
		}}
		run(t, flow.To(operators.Batch(in.source(), 2, 0), out.sink()))
		out.want(t, []int{0, 1}, []int{2, 3}, []int{4, 5})
	})
	virtual(t, "credits as many as a batch", func(t *testing.T) {
		in, out := numbers(40), &box[[]int]{}
		run(t, flow.To(operators.Batch(in.source(flow.MaxInFlight(10)), 10, 0), out.sink()))
		in.allSettledAs(t, flow.Acked)
		if in.most > 10 {
			t.Errorf("%d entries in flight, the source has credits for 10", in.most)
		}
	})
}

// faulty passes batches on and fails as a stage once, at the given time.
type faulty struct {
	at     time.Time
	failed *bool
}

func (f *faulty) Handle(_ context.Context, m flow.Message[[]int], emit flow.Emit[[]int]) error {
	emit(m)
	return nil
}

func (f *faulty) Next() time.Time {
	if *f.failed {
		return time.Time{}
	}
	return f.at
}

func (f *faulty) Ring(context.Context, flow.Emit[[]int]) error {
	*f.failed = true
	return errBoom
}

func TestBatchRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := numbers(8), &box[[]int]{}
		in.every = time.Second // the values arrive after 1, 2, … 8 s
		failed, at := false, time.Now().Add(5500*time.Millisecond)
		batches := operators.Batch(in.source(), 3, 0)
		run(t, flow.To(flow.Via(batches, "faulty", func() flow.Handler[[]int, []int] {
			return &faulty{at, &failed}
		}), out.sink()))
		// 3 and 4 were held before the restart: they go back, and the new stage begins with 5.
		out.want(t, []int{0, 1, 2}, []int{5, 6, 7})
		in.outcomes(t, map[int]flow.Outcome{3: flow.Nacked, 4: flow.Nacked})
	})
}

func TestBatchWeighted(t *testing.T) {
	size := func(s string) int { return len(s) }
	virtual(t, "by bytes, count and age", func(t *testing.T) {
		in, out := newFeed("aa", "bb", "c", "dddd", "e", "f", "g", "hhhhhhhhh", "i"), &box[[]string]{}
		in.stays = true
		r := start(t, flow.To(operators.BatchWeighted(in.source(), 3, time.Second, 5, size), out.sink()))
		time.Sleep(time.Minute)
		// aa bb c is full by bytes, and so is dddd e. Then f g, and a value that fits neither with
		// them nor alone.
		out.want(
			t,
			[]string{"aa", "bb", "c"},
			[]string{"dddd", "e"},
			[]string{"f", "g"},
			[]string{"hhhhhhhhh"},
			[]string{"i"},
		)
		in.allSettledAs(t, flow.Acked) // i is passed on by its age
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	virtual(t, "never more than the limits", func(t *testing.T) {
		in, out := newFeed[string](), &box[[]string]{}
		for i := range 1000 {
			in.values = append(in.values, strings.Repeat("x", i*i%37))
		}
		run(t, flow.To(operators.BatchWeighted(in.source(), 7, time.Second, 60, size), out.sink()))
		for _, b := range out.values() {
			if n := len(strings.Join(b, "")); len(b) > 7 || n > 60 {
				t.Fatalf("a batch of %d values and %d bytes", len(b), n)
			}
		}
		if got := slices.Concat(out.values()...); !slices.Equal(got, in.values) {
			t.Errorf("the values in batches are not those of the input")
		}
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a size that panics or is negative costs its own message only", func(t *testing.T) {
		in, out := newFeed("a", "panics", "b", "negative", "c"), &box[[]string]{}
		run(t, flow.To(operators.BatchWeighted(in.source(), 3, time.Second, 100, func(s string) int {
			switch s {
			case "panics":
				panic(errBoom)
			case "negative":
				return -1
			}
			return len(s)
		}, flow.OnFault(flow.DeadLetter)), out.sink()))
		out.want(t, []string{"a", "b", "c"})
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead, 3: flow.Dead})
		if err := in.settled[1][0].Err(); !errors.Is(err, errBoom) {
			t.Errorf("the panic's value is lost: %v", err)
		}
	})
}

func TestUnbatch(t *testing.T) {
	virtual(t, "order and acks", func(t *testing.T) {
		in, out := newFeed([]int{0, 1, 2}, nil, []int{3}, sequence(1000)), &box[int]{}
		run(t, flow.To(operators.Unbatch(in.source()), out.sink()))
		out.want(t, slices.Concat(sequence(4), sequence(1000))...)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "one bad value decides for its slice", func(t *testing.T) {
		in, out := newFeed([]int{0, 1}, []int{2, 3}), &box[int]{each: func(_ context.Context, v int) error {
			if v == 3 {
				return errBoom
			}
			return nil
		}}
		run(t, flow.To(operators.Unbatch(in.source()), out.sink(), flow.OnFault(flow.Nack)))
		out.want(t, 0, 1, 2)
		in.outcomes(t, map[int]flow.Outcome{1: flow.Nacked})
	})
	virtual(t, "undoes Batch", func(t *testing.T) {
		in, out := numbers(100), &box[int]{}
		run(t, flow.To(operators.Unbatch(operators.Batch(in.source(), 7, time.Second)), out.sink()))
		out.want(t, sequence(100)...)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "each value has its own metadata again", func(t *testing.T) {
		in, out := numbers(100), &box[int]{}
		twice := operators.Batch(operators.Batch(in.source(), 7, time.Second), 3, time.Second)
		run(t, flow.To(operators.Unbatch(operators.Unbatch(twice)), out.sink()))
		for i, meta := range out.meta {
			if want := strconv.Itoa(out.got[i]); meta.ID != want || len(meta.Members) != 0 {
				t.Fatalf("%s has the metadata of %s, of %d", want, meta.ID, len(meta.Members))
			}
		}
	})
	virtual(t, "what is not as long as its batch has the batch's metadata", func(t *testing.T) {
		in, out := numbers(3), &box[int]{}
		firstTwo := operators.Map(
			operators.Batch(in.source(), 3, time.Second),
			flow.Pure(func(vs []int) []int { return vs[:2] }),
		)
		run(t, flow.To(operators.Unbatch(firstTwo), out.sink()))
		for _, meta := range out.meta {
			if meta.ID != "0" || len(meta.Members) != 3 || meta.Members[2].ID != "2" {
				t.Fatalf("%+v", meta)
			}
		}
	})
	virtual(t, "stop and drain", func(t *testing.T) {
		for _, stop := range []bool{true, false} {
			in := newFeed(sequence(10), sequence(10))
			in.stays = true
			slow := &box[int]{each: func(ctx context.Context, _ int) error { return wait(ctx, time.Second) }}
			r := start(t, flow.To(operators.Unbatch(in.source()), slow.sink()))
			time.Sleep(5 * time.Second)
			want := flow.Acked
			if stop {
				want = flow.Nacked
				if err := r.Stop(); err != nil {
					t.Error(err)
				}
			} else if _, err := r.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			in.allSettledAs(t, want)
		}
	})
}
