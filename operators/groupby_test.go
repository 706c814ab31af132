package operators_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Each user's events in batches of two, with what is left at the end.
func ExampleGroupBy() {
	events := source.Of("ann 1", "bob 1", "ann 2", "ann 3", "bob 2")
	user := func(e string) string { return e[:3] }
	batches := operators.GroupBy(events, user, 1000, time.Minute,
		func(of flow.Source[string]) flow.Source[[]string] { return operators.Batch(of, 2, time.Minute) })
	exec(flow.To(batches, sink.Func(printed[[]string])))
	// Output:
	// [ann 1 ann 2]
	// [bob 1 bob 2]
	// [ann 3]
}

func pairs(of ints) flow.Source[[]int] { return operators.Batch(of, 2, 0) }

func self3(v int) int { return v % 3 }

func grouped(t *testing.T, most int, sub func(ints) flow.Source[[]int], opts ...flow.StageOption,
) (*flowtest.Feeder[int], *flowtest.Collector[[]int]) {
	src, feed := flowtest.Feed[int](t)
	snk, got := flowtest.Collect[[]int](t)
	flowtest.Start(t, flow.To(operators.GroupBy(src, self3, most, time.Minute, sub, opts...), snk))
	return feed, got
}

func TestGroupBy(t *testing.T) {
	virtual(t, "an idle key ends, and passes on what it holds", func(t *testing.T) {
		feed, got := grouped(t, 10, pairs)
		feed.Send(0, 1, 3)
		got.Want([]int{0, 3})
		time.Sleep(50 * time.Second)
		feed.WantOutstanding(1)
		time.Sleep(20 * time.Second)
		got.Want([]int{0, 3}, []int{1})
		feed.Send(4, 7)
		got.Want([]int{0, 3}, []int{1}, []int{4, 7})
	})
	virtual(t, "one key more than most ends the one used least recently", func(t *testing.T) {
		feed, got := grouped(t, 2, pairs)
		feed.Send(0, 1, 2)
		got.Want([]int{0})
		feed.Send(4)
		got.Want([]int{0}, []int{1, 4})
		feed.Send(3)
		got.Want([]int{0}, []int{1, 4}, []int{2})
	})
	virtual(t, "a timer inside", func(t *testing.T) {
		feed, got := grouped(t, 2, func(of ints) flow.Source[[]int] { return operators.Batch(of, 9, 5*time.Second) })
		feed.Send(0)
		time.Sleep(3 * time.Second)
		feed.Send(1)
		time.Sleep(3 * time.Second)
		got.Want([]int{0})
		time.Sleep(3 * time.Second)
		got.Want([]int{0}, []int{1})
	})
	virtual(t, "the first of each key", func(t *testing.T) {
		in, out := numbers(9), &box[int]{}
		first := func(of ints) ints { return operators.Take(of, 1) }
		run(t, flow.To(operators.GroupBy(in.source(), self3, 10, time.Hour, first), out.sink()))
		out.want(t, 0, 1, 2)
		in.allSettledAs(t, flow.Acked)
	})
}

// How the messages settle.
func TestGroupBy_Settlement(t *testing.T) {
	virtual(t, "more keys than credits", func(t *testing.T) {
		in := numbers(200)
		out := operators.GroupBy(
			in.source(flow.MaxInFlight(10)),
			func(v int) int { return v },
			1000,
			time.Minute,
			pairs,
		)
		run(t, flow.To(out, discard[[]int]()))
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a stop gives back what the keys hold", func(t *testing.T) {
		in := numbers(9)
		in.stays = true
		r := start(t, flow.To(operators.GroupBy(in.source(), func(v int) int { return v }, 1000, time.Hour, pairs),
			discard[[]int]()))
		synctest.Wait()
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		in.unfinished(t, nil)
	})
	virtual(t, "a stage inside that fails, with retries", func(t *testing.T) {
		in, out, fails := numbers(9), &box[int]{}, 2
		sub := func(of ints) ints {
			return operators.Map(of, func(_ context.Context, v int) (int, error) {
				if v == 4 && fails > 0 {
					fails--
					return 0, errBoom
				}
				return v, nil
			})
		}
		run(t, flow.To(operators.GroupBy(in.source(), self3, 10, time.Hour, sub), out.sink()))
		out.want(t, sequence(9)...)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a stage inside that stops the graph", func(t *testing.T) {
		in := numbers(9)
		sub := func(of ints) ints {
			return operators.Map(of, func(_ context.Context, v int) (int, error) { return v, flow.Permanent(errBoom) })
		}
		g := flow.New("g", flow.To(operators.GroupBy(in.source(), self3, 10, time.Hour, sub), discard[int]()))
		if err := g.Run(t.Context()); err == nil {
			t.Error("the graph ended without an error")
		}
	})
	virtual(t, "bad keys", func(t *testing.T) {
		in, keys := numbers(3), []float64{1, math.NaN(), -1}
		key := func(i int) float64 {
			if keys[i] < 0 {
				panic(errBoom)
			}
			return keys[i]
		}
		same := func(of ints) ints { return of }
		out := operators.GroupBy(in.source(), key, 10, time.Hour, same, flow.OnFault(flow.DeadLetter))
		run(t, flow.To(out, discard[int]()))
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead, 2: flow.Dead})
	})
}

func TestGroupBy_Validate(t *testing.T) {
	end := func(in ints) flow.Part { return flow.To(in, discard[int]()) }
	src := func() ints { return numbers(1).source() }
	invalid(t, []string{"group-by: key", "group-by: sub", "group-by: most", "group-by: idle"},
		end(operators.GroupBy[int, int, int](src(), nil, 0, 0, nil)))
	workers := func(of ints) ints { return operators.Map(of, flow.Pure(self3), flow.Workers(2)) }
	invalid(t, []string{"group-by: sub"}, end(operators.GroupBy(src(), self3, 1, time.Hour, workers)))
	foreign := func(ints) ints { return src() }
	invalid(t, []string{"group-by: sub"}, end(operators.GroupBy(src(), self3, 1, time.Hour, foreign)))
}
