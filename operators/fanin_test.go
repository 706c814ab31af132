package operators_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// lively is two feeds and a collector of a running merge.
func lively(t *testing.T, op func(a, b ints) ints) (a, b *flowtest.Feeder[int], got *flowtest.Collector[int]) {
	t.Helper()
	left, a := flowtest.Feed[int](t)
	right, b := flowtest.Feed[int](t)
	sink, got := flowtest.Collect[int](t)
	flowtest.Start(t, flow.To(op(left, right), sink), flow.Faults(flow.DeadLetter))
	return a, b, got
}

func TestMergeSorted(t *testing.T) {
	merge := func(idle time.Duration, compare func(a, b int) int) func(a, b ints) ints {
		return func(a, b ints) ints { return operators.MergeSorted([]ints{a, b}, compare, idle) }
	}
	virtual(t, "a silent input does not hold up the others", func(t *testing.T) {
		a, b, got := lively(t, merge(time.Second, cmp.Compare[int]))
		a.Send(1, 2, 3)
		time.Sleep(999 * time.Millisecond)
		got.Want()
		time.Sleep(time.Millisecond)
		got.Want(1, 2, 3)
		b.Send(2) // late: it waits for the other input again
		time.Sleep(time.Minute)
		got.Want(1, 2, 3, 2)
		a.Send(9)
		b.Send(5, 6)
		time.Sleep(time.Minute)
		if all := got.Values(); len(all) != 7 {
			t.Errorf("values: %v", all)
		}
	})
	virtual(t, "without an idle time they wait", func(t *testing.T) {
		a, b, got := lively(t, merge(0, cmp.Compare[int]))
		a.Send(1, 2, 3)
		time.Sleep(time.Hour)
		got.Want()
		b.Send(2)
		got.Want(1, 2, 2)
		b.Close()
		got.Want(1, 2, 2, 3)
	})
	virtual(t, "a panic of compare is a fault of the value that arrived", func(t *testing.T) {
		a, b, got := lively(t, merge(time.Second, func(x, y int) int {
			if x == 13 {
				panic("unlucky")
			}
			return cmp.Compare(x, y)
		}))
		b.Send(20)
		time.Sleep(time.Millisecond)
		a.Send(13, 14)
		a.WantDead(13)
		got.Want(14)
	})
}

func TestMergeSequence(t *testing.T) {
	number := func(v int) uint64 { return uint64(v) }
	merge := func(window int, gap operators.Gap) func(a, b ints) ints {
		return func(a, b ints) ints {
			return operators.MergeSequence([]ints{a, b}, number, window, time.Second, gap)
		}
	}
	virtual(t, "skips what does not come", func(t *testing.T) {
		a, b, got := lively(t, merge(3, operators.SkipGap))
		b.Send(11)
		time.Sleep(500 * time.Millisecond)
		a.Send(10)
		time.Sleep(499 * time.Millisecond)
		got.Want()
		time.Sleep(time.Millisecond)
		got.Want(10, 11)
		a.Send(13) // 12 is missing
		time.Sleep(time.Second)
		got.Want(10, 11, 13)
		a.Send(16, 17, 18) // the window is full
		time.Sleep(time.Millisecond)
		got.Want(10, 11, 13, 16, 17, 18)
		b.Send(12, 18) // late, and a duplicate
		time.Sleep(time.Millisecond)
		got.Want(10, 11, 13, 16, 17, 18, 12, 18)
		a.Send(21, 21) // a duplicate of one that waits
		time.Sleep(time.Second)
		got.Want(10, 11, 13, 16, 17, 18, 12, 18, 21, 21)
	})
	virtual(t, "stops at a gap", func(t *testing.T) {
		left, a := flowtest.Feed[int](t)
		right, b := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[int](t)
		a.Send(1, 2, 5)
		a.Close()
		b.Close()
		err := flowtest.Run(t, flow.To(merge(3, operators.StopAtGap)(left, right), sink))
		var stage *flow.StageError
		if !errors.As(err, &stage) || stage.Stage != "merge-sequence" {
			t.Errorf("ended with %v, want a StageError", err)
		}
		got.Want(1, 2)
	})
}

func TestZipSettles(t *testing.T) {
	type pair = operators.Pair[int, int]
	virtual(t, "leftovers go back, and a pair fails as a whole", func(t *testing.T) {
		left, a := flowtest.Feed[int](t)
		right, b := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[pair](t, flow.OnFault(flow.DeadLetter))
		got.FailOn(func(m flow.Message[pair]) error {
			if m.Value.First == 2 {
				return errBoom
			}
			return nil
		})
		a.Send(1, 2, 3, 4)
		a.Close()
		b.Send(1, 2)
		b.Close()
		if err := flowtest.Run(t, flow.To(operators.Zip(left, right), sink)); err != nil {
			t.Error(err)
		}
		a.WantAcked(1)
		a.WantDead(2)
		a.WantNacked(3, 4)
		b.WantAcked(1)
		b.WantDead(2)
	})
	virtual(t, "after Unzip each value settles by itself", func(t *testing.T) {
		left, a := flowtest.Feed[int](t)
		right, b := flowtest.Feed[int](t)
		first, second := operators.Unzip(operators.Zip(left, right))
		ok, _ := flowtest.Collect[int](t)
		bad, got := flowtest.Collect[int](t, flow.OnFault(flow.DeadLetter))
		got.FailOn(func(flow.Message[int]) error { return errBoom })
		a.Send(1)
		a.Close()
		b.Send(2)
		b.Close()
		if err := flowtest.Run(t, flow.To(first, ok), flow.To(second, bad)); err != nil {
			t.Error(err)
		}
		a.WantAcked(1)
		b.WantDead(2)
	})
	virtual(t, "leftovers of a source without redelivery are dropped", func(t *testing.T) {
		left, a := flowtest.Feed[int](t, flowtest.CannotRedeliver())
		right, b := flowtest.Feed[int](t)
		sink, _ := flowtest.Collect[pair](t)
		a.Send(1, 2)
		a.Close()
		b.Close()
		if err := flowtest.Run(t, flow.To(operators.Zip(left, right), sink)); err != nil {
			t.Error(err)
		}
		a.WantDropped(1, 2)
	})
}

func TestLatest(t *testing.T) {
	virtual(t, "WithLatest waits for the side", func(t *testing.T) {
		in, side, got := lively(t, func(in, side ints) ints {
			return operators.WithLatest(in, side, func(_ context.Context, v, s int) (int, error) {
				if v == 13 {
					panic("unlucky")
				}
				return v*100 + s, nil
			})
		})
		in.Send(1, 2)
		time.Sleep(time.Hour)
		got.Want()
		side.Send(7)
		got.Want(107, 207)
		side.Send(8)
		side.WantAcked(7, 8)
		in.Send(13, 3) // the latest value survives the panic
		in.WantDead(13)
		got.Want(107, 207, 308)
	})
	first := func(in, side ints) ints {
		return operators.WithLatest(in, side, func(_ context.Context, v, s int) (int, error) { return v, nil })
	}
	virtual(t, "WithLatest reads nothing before the side has a value", func(t *testing.T) {
		in, side, got := lively(t, first)
		in.Send(1)
		time.Sleep(time.Hour)
		side.Close()
		got.Want()
		if n := in.MostOutstanding(); n != 0 {
			t.Errorf("%d messages were read", n)
		}
		in.Close()
	})
	virtual(t, "WithLatest gives up what was read for another stage", func(t *testing.T) {
		src, in := flowtest.Feed[int](t, flowtest.FeedStage(flow.MaxInFlight(5)))
		side, feed := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[int](t)
		copies := operators.FanOut(src, 2)
		flowtest.Start(t, flow.To(first(copies[0], side), sink), flow.To(copies[1], discard[int]()))
		in.Send(1, 2, 3, 4, 5, 6, 7)
		time.Sleep(time.Hour)
		if n := in.Outstanding(); n != 5 { // its credits
			t.Errorf("%d messages wait, want 5", n)
		}
		feed.Close()
		in.Close()
		time.Sleep(time.Minute)
		got.Want()
		all := in.Settlements()
		for _, st := range all {
			if st.Outcome != flow.Nacked && st.Outcome != flow.Dropped {
				t.Errorf("%v", st)
			}
		}
		if len(all) != 7 {
			t.Errorf("%d entries are settled, want 7", len(all))
		}
	})
	virtual(t, "CombineLatest", func(t *testing.T) {
		a, b, got := lively(t, func(a, b ints) ints {
			return operators.CombineLatest(a, b, func(_ context.Context, x, y int) (int, error) {
				if y == 13 {
					return 0, fmt.Errorf("unlucky")
				}
				return x*100 + y, nil
			})
		})
		step := func(f *flowtest.Feeder[int], v int) {
			f.Send(v)
			time.Sleep(time.Millisecond)
		}
		step(a, 1)
		a.WantAcked(1)
		step(b, 2)
		step(a, 3)
		step(b, 13)
		b.WantDead(13)
		step(b, 4)
		got.Want(102, 302, 304)
	})
}

// Without InTurn, the entries of a later input would wait for its turn with their leases.
func TestInTurn(t *testing.T) {
	virtual(t, "a later input of Concat reads nothing before its turn", func(t *testing.T) {
		a, b, got := lively(t, func(a, b ints) ints { return operators.Concat(a, b) })
		b.Send(1, 2)
		a.Send(0)
		time.Sleep(time.Hour)
		if n := b.MostOutstanding(); n != 0 {
			t.Errorf("%d messages were read", n)
		}
		a.Close()
		got.Want(0, 1, 2)
		b.Close()
	})
	virtual(t, "the second input of OrElse reads nothing if the first has a value", func(t *testing.T) {
		a, b, got := lively(t, func(a, b ints) ints { return operators.OrElse(a, b) })
		b.Send(1, 2)
		time.Sleep(time.Hour)
		a.Send(0)
		a.Close()
		got.Want(0)
		if n := b.MostOutstanding(); n != 0 {
			t.Errorf("%d messages were read", n)
		}
	})
	virtual(t, "a nested Concat waits for both turns, and a drain ends the wait", func(t *testing.T) {
		first, a := flowtest.Feed[int](t)
		second, b := flowtest.Feed[int](t)
		third, c := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[int](t)
		r := flowtest.Start(t, flow.To(operators.Concat(first, operators.Concat(second, third)), sink))
		b.Send(2)
		c.Send(3)
		a.Send(1)
		time.Sleep(time.Hour)
		a.Close()
		got.Want(1, 2)
		if n := c.MostOutstanding(); n != 0 {
			t.Errorf("%d messages were read", n)
		}
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The longer input of a Zip, and the second of an OrElse, stop reading when they are not needed any more. So
// a stream without an end does not keep the graph alive.
func TestFanInsStopWhatTheyDoNotNeed(t *testing.T) {
	for name, of := range map[string]func(a, b flow.Source[int]) flow.Part{
		"zip": func(a, b flow.Source[int]) flow.Part {
			return flow.To(operators.Zip(a, b), discard[operators.Pair[int, int]]())
		},
		"or else": func(a, b flow.Source[int]) flow.Part {
			return flow.To(operators.OrElse(a, b), discard[int]())
		},
	} {
		virtual(t, name, func(t *testing.T) {
			short, long := newFeed(1, 2), numbers(100)
			long.stays = true // it redelivers, and waits for more
			run(t, of(short.source(), long.source(flow.MaxInFlight(8))))
			short.allSettledAs(t, flow.Acked)
			if n := len(long.settled); n == 100 {
				t.Error("the long input was read to its end")
			}
		})
	}
}
