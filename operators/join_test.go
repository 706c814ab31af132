package operators_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/window"
)

type eventJoin = window.Join[event, event, string]

func keyOf(e event) string { return e.Key }

// byTimes is a join by event time.
func byTimes(kind window.JoinKind, before, after time.Duration) eventJoin {
	return eventJoin{Kind: kind, LeftKey: keyOf, RightKey: keyOf, LeftTime: event.time, RightTime: event.time,
		Before: before, After: after}
}

func printedPair(_ context.Context, l, r *event) (string, error) { return fmt.Sprint(l, r), nil }

// joined starts a join of two feeds.
func joined(t *testing.T, cfg eventJoin, f func(context.Context, *event, *event) (string, error),
) (left, right *flowtest.Feeder[event], got *flowtest.Collector[string]) {
	l, left := flowtest.Feed[event](t, flowtest.FeedStage(flow.Name("left")))
	r, right := flowtest.Feed[event](t, flowtest.FeedStage(flow.Name("right")))
	sink, got := flowtest.Collect[string](t, flow.OnFault(flow.NackAfter(sec)))
	flowtest.Start(t, flow.To(operators.JoinWithin(l, r, cfg, f, flow.OnFault(flow.DeadLetter)), sink))
	return left, right, got
}

func TestJoinWithin(t *testing.T) {
	virtual(t, "a value waits until no partner can come", func(t *testing.T) {
		left, right, got := joined(t, byTimes(window.Outer, 0, 10*sec), printedPair)
		left.Send(event{"a", 1})
		synctest.Wait()
		right.Send(event{"a", 11})
		got.Want("&{a 1} &{a 11}")
		left.WantOutstanding(1)
		left.Send(event{"b", 12}) // the watermark is at 11
		synctest.Wait()
		left.WantOutstanding(2)
		right.Send(event{"c", 12}, event{"c", 23}) // at 12
		left.WantAcked(event{"a", 1})
		synctest.Wait()
		left.Send(event{"d", 24}) // at 23: b, a and c stop to wait
		got.WantUnordered("&{a 1} &{a 11}", "&{b 12} <nil>", "<nil> &{c 12}")
		left.WantAcked(event{"a", 1}, event{"b", 12})
		right.WantAcked(event{"a", 11}, event{"c", 12})
	})
	virtual(t, "a late value finds those that still wait, and does not wait itself", func(t *testing.T) {
		left, right, got := joined(t, byTimes(window.Left, 0, 100*sec), printedPair)
		left.Send(event{"a", 200}, event{"a", 1})
		right.Send(event{"b", 250})
		synctest.Wait()
		left.WantOutstanding(1)
		left.Send(event{"b", 151}, event{"c", 20}) // the watermark is at 200
		got.WantUnordered("&{b 151} &{b 250}", "&{a 1} <nil>", "&{c 20} <nil>")
		left.WantAcked(event{"a", 1}, event{"c", 20})
	})
	virtual(t, "processing time", func(t *testing.T) {
		cfg := eventJoin{Kind: window.Left, LeftKey: keyOf, RightKey: keyOf, Before: 5 * sec, After: 10 * sec}
		left, right, got := joined(t, cfg, printedPair)
		left.Send(event{"a", 1})
		right.Send(event{"b", 1})
		time.Sleep(4 * sec)
		left.Send(event{"b", 2})
		time.Sleep(4 * sec)
		right.Send(event{"a", 2})
		got.Want("&{b 2} &{b 1}", "&{a 1} &{a 2}")
		left.Send(event{"c", 3})
		time.Sleep(11 * sec)
		got.Want("&{b 2} &{b 1}", "&{a 1} &{a 2}", "&{c 3} <nil>")
		left.WantOutstanding(0)
		right.WantOutstanding(0)
	})
	virtual(t, "an idle side ends the wait", func(t *testing.T) {
		left, _, got := joined(t, byTimes(window.Left, 0, 10*sec), printedPair)
		left.Send(event{"a", 1}, event{"a", 100})
		time.Sleep(2 * time.Minute)
		got.Want("&{a 1} <nil>")
		left.WantOutstanding(1)
	})
	virtual(t, "more than MaxHeld", func(t *testing.T) {
		cfg := byTimes(window.Outer, 10*sec, 10*sec)
		cfg.MaxHeld = 3
		left, right, got := joined(t, cfg, printedPair)
		left.Send(event{"a", 2})
		synctest.Wait()
		right.Send(event{"b", 1})
		synctest.Wait()
		left.WantOutstanding(1)
		right.WantOutstanding(1)
		left.Send(event{"c", 3})
		got.Want("<nil> &{b 1}")
		left.Send(event{"d", 4})
		got.Want("<nil> &{b 1}", "&{a 2} <nil>")
	})
	virtual(t, "a result that fails gives back its entries", func(t *testing.T) {
		left, right, got := joined(t, byTimes(window.Inner, 0, 10*sec), printedPair)
		got.FailOn(func(m flow.Message[string]) error {
			if m.Value == "&{a 1} &{a 2}" {
				return errBoom
			}
			return nil
		})
		left.Send(event{"a", 1})
		synctest.Wait()
		right.Send(event{"a", 2}, event{"a", 3})
		got.Want("&{a 1} &{a 3}")
		left.Close()
		right.Close()
		left.WantNacked(event{"a", 1})
		right.WantNacked(event{"a", 2})
		right.WantAcked(event{"a", 3})
	})
}

func TestJoinWithin_BadInput(t *testing.T) {
	virtual(t, "no time, one too far ahead, a NaN", func(t *testing.T) {
		type reading struct {
			key float64
			at  time.Time
		}
		now := time.Now()
		all := []reading{{1, time.Time{}}, {1, now.Add(25 * time.Hour)}, {math.NaN(), now}, {1, now}}
		key, at := func(i int) float64 { return all[i].key }, func(i int) time.Time { return all[i].at }
		in, none, got := numbers(len(all)), numbers(0), &box[int]{}
		out := operators.JoinWithin(in.source(), none.source(), window.Join[int, int, float64]{
			Kind: window.Left, LeftKey: key, RightKey: key, LeftTime: at, RightTime: at, After: sec,
		}, func(_ context.Context, l, r *int) (int, error) {
			if r != nil {
				return 0, errBoom
			}
			return *l, nil
		})
		run(t, flow.To(out, got.sink()))
		if alone := slices.Sorted(slices.Values(got.values())); !slices.Equal(alone, sequence(len(all))) {
			t.Errorf("passed on alone: %v", alone)
		}
		in.allSettledAs(t, flow.Acked)
	})
	boom := func(e event) {
		if e.At == 3 {
			panic(errBoom)
		}
	}
	for name, set := range map[string]func(*eventJoin){
		"key":  func(c *eventJoin) { c.LeftKey = func(e event) string { boom(e); return e.Key } },
		"time": func(c *eventJoin) { c.LeftTime = func(e event) time.Time { boom(e); return e.time() } },
	} {
		virtual(t, name+" panics", func(t *testing.T) {
			cfg := byTimes(window.Left, 0, 10*sec)
			set(&cfg)
			left, right, got := joined(t, cfg, printedPair)
			left.Send(events(1, 3, 2)...)
			left.Close()
			right.Close()
			left.WantDead(event{"k", 3})
			got.WantUnordered("&{k 1} <nil>", "&{k 2} <nil>")
		})
	}
	virtual(t, "f fails for a pair, and for values alone", func(t *testing.T) {
		f := func(ctx context.Context, l, r *event) (string, error) {
			if l != nil {
				boom(*l)
			}
			if r != nil {
				boom(*r)
			}
			return printedPair(ctx, l, r)
		}
		left, right, got := joined(t, byTimes(window.Outer, 5*sec, 10*sec), f)
		left.Send(event{"a", 1}, event{"b", 3}, event{"c", 1})
		synctest.Wait()
		left.WantOutstanding(3)
		right.Send(event{"a", 2}, event{"a", 3})
		right.WantDead(event{"a", 3}) // the later value of its pair
		left.Send(event{"d", 99})
		synctest.Wait()
		right.Send(event{"d", 98})
		left.WantNacked(event{"b", 3})
		got.WantUnordered("&{a 1} &{a 2}", "&{d 99} &{d 98}", "&{c 1} <nil>")
		left.WantAcked(event{"a", 1}, event{"c", 1})
	})
	virtual(t, "f fails for a value that does not wait", func(t *testing.T) {
		f := func(context.Context, *event, *event) (string, error) { return "", errBoom }
		left, right, _ := joined(t, byTimes(window.Left, 0, sec), f)
		right.Send(event{"a", 100})
		synctest.Wait()
		right.WantOutstanding(1)
		left.Send(event{"a", 100})
		left.WantDead(event{"a", 100})
		left.Send(event{"b", 1})
		left.Close()
		right.Close()
	})
}

func TestJoinWithin_Validate(t *testing.T) {
	check := func(cfg eventJoin, want ...string) {
		t.Helper()
		for i := range want {
			want[i] = "join-within: " + want[i]
		}
		out := operators.JoinWithin(newFeed[event]().source(), newFeed[event]().source(), cfg, printedPair)
		invalid(t, want, flow.To(out, discard[string]()))
	}
	check(eventJoin{}, "LeftKey", "RightKey", "Before, After")
	bad := byTimes(9, -1, 5)
	bad.Slack, bad.MaxHeld, bad.RightTime = -1, -1, nil
	check(bad, "MaxHeld", "Before, After", "Slack", "LeftTime, RightTime", "Kind")
}
