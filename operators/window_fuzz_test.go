package operators_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/window"
)

// randomEvents returns events of a few keys that are out of order by up to a few seconds, some by more.
func randomEvents(rng *rand.Rand) []event {
	all := make([]event, rng.IntN(60))
	now := 0
	for i := range all {
		now += rng.IntN(6)
		at := now - rng.IntN(8)
		if rng.IntN(10) == 0 {
			at = now - rng.IntN(60)
		}
		all[i] = event{string(rune('a' + rng.IntN(3))), at}
	}
	return all
}

const noMark = -1 << 40

// naiveWindow is a window of the model: its values in the order of their arrival.
type naiveWindow struct {
	key        string
	start, end int
	n          int
	fired      bool
}

// naiveTime is the model of tumbling and sliding windows that count. It looks at all windows for each
// event.
func naiveTime(all []event, size, every, slack, lateness int) (results []string, late []event) {
	var windows []*naiveWindow
	find := func(key string, start int) *naiveWindow {
		for _, w := range windows {
			if w.key == key && w.start == start {
				return w
			}
		}
		w := &naiveWindow{key: key, start: start, end: start + size}
		windows = append(windows, w)
		return w
	}
	low, high := noMark, noMark
	emit := func(w *naiveWindow, pane window.Pane) {
		results = append(results, fmt.Sprintf("%s %d-%d %s: %d", w.key, w.start, w.end, pane, w.n))
	}
	for _, e := range all {
		took := false
		for start := -1000; start < 1000; start++ {
			zero := int(zeroHour.Unix())
			if (zero+start)%every != 0 || e.At < start || e.At >= start+size || start+size+lateness <= low {
				continue
			}
			took = true
			w := find(e.Key, start)
			w.n++
			if w.end <= low {
				w.fired = true
				emit(w, window.Late)
			}
		}
		if !took {
			late = append(late, e)
		}
		high = max(high, e.At)
		low = max(low, high-slack)
		for _, w := range windows {
			if !w.fired && w.end <= low {
				w.fired = true
				emit(w, window.OnTime)
			}
		}
	}
	for _, w := range windows {
		if !w.fired {
			emit(w, window.OnTime)
		}
	}
	return results, late
}

// naiveSessions is the model of sessions that count, without lateness. It groups all open events of a
// key again for each event.
func naiveSessions(all []event, gap, slack int) (results []string, late []event) {
	open := make(map[string][]int) // event times by key
	groups := func(times []int) (of [][]int) {
		slices.Sort(times)
		for i, at := range times {
			if i == 0 || at >= times[i-1]+gap {
				of = append(of, nil)
			}
			of[len(of)-1] = append(of[len(of)-1], at)
		}
		return of
	}
	low, high := noMark, noMark
	fire := func(upTo int) {
		for key, times := range open {
			var left []int
			for _, g := range groups(times) {
				if end := g[len(g)-1] + gap; end <= upTo {
					results = append(results, fmt.Sprintf("%s %d-%d %s: %d", key, g[0], end, window.OnTime, len(g)))
				} else {
					left = append(left, g...)
				}
			}
			open[key] = left
		}
	}
	for _, e := range all {
		touches := slices.ContainsFunc(open[e.Key], func(at int) bool { return at < e.At+gap && e.At < at+gap })
		if !touches && e.At+gap <= low {
			late = append(late, e)
		} else {
			open[e.Key] = append(open[e.Key], e.At)
		}
		high = max(high, e.At)
		low = max(low, high-slack)
		fire(low)
	}
	fire(1 << 40)
	return results, late
}

// sameWindows compares the outputs of windows with those of a model, whatever the order of results.
func sameWindows(t *testing.T, cfg config, all []event, want []string, wantLate []event) {
	t.Helper()
	feed := newFeed(all...)
	out := &box[countResult]{}
	lates := &box[event]{}
	results, late := operators.Window(feed.source(), cfg, window.Count[event]())
	run(t, flow.To(results, out.sink(), flow.Name("results")), flow.To(late, lates.sink(), flow.Name("late")))
	var got []string
	for _, r := range out.values() {
		start, end := r.Start.Sub(zeroHour)/sec, r.End.Sub(zeroHour)/sec
		got = append(got, fmt.Sprintf("%s %d-%d %s: %d", r.Key, start, end, r.Pane, r.Value))
		if r.N != r.Value {
			t.Errorf("%v says it has %d values", r, r.N)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantLate, lates.values()); diff != "" {
		t.Errorf("late events (-want +got):\n%s", diff)
	}
	feed.allSettledAs(t, flow.Acked)
}

// FuzzWindow compares windows with naive ones.
func FuzzWindow(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 7))
		all := randomEvents(rng)
		slack, lateness := rng.IntN(12), rng.IntN(2)*rng.IntN(20)
		seconds := func(n int) time.Duration { return time.Duration(n) * sec }
		if rng.IntN(3) == 0 {
			gap := 1 + rng.IntN(12)
			results, late := naiveSessions(all, gap, slack)
			sameWindows(t, byTime(window.Session(seconds(gap)), func(c *config) { c.Slack = seconds(slack) }),
				all, results, late)
			return
		}
		every := 1 + rng.IntN(10)
		size := every
		if rng.IntN(2) == 0 {
			size += rng.IntN(15)
		}
		results, late := naiveTime(all, size, every, slack, lateness)
		sameWindows(t, byTime(window.Sliding(seconds(size), seconds(every)), func(c *config) {
			c.Slack, c.Lateness = seconds(slack), seconds(lateness)
		}), all, results, late)
	})
}

// FuzzJoinWithin compares joins with nested loops. The slack is so large that no value is late.
func FuzzJoinWithin(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 8))
		left, right := randomEvents(rng), randomEvents(rng)
		before, after := rng.IntN(10), 1+rng.IntN(10)
		kind := window.JoinKind(rng.IntN(3))
		partners := func(l, r event) bool { return l.Key == r.Key && r.At >= l.At-before && r.At <= l.At+after }
		var want []string
		for _, l := range left {
			alone := kind >= window.Left
			for _, r := range right {
				if partners(l, r) {
					alone = false
					want = append(want, fmt.Sprint(&l, &r))
				}
			}
			if alone {
				want = append(want, fmt.Sprint(&l, (*event)(nil)))
			}
		}
		for _, r := range right {
			if kind == window.Outer && !slices.ContainsFunc(left, func(l event) bool { return partners(l, r) }) {
				want = append(want, fmt.Sprint((*event)(nil), &r))
			}
		}
		cfg := byTimes(kind, time.Duration(before)*sec, time.Duration(after)*sec)
		cfg.Slack = time.Hour
		lefts, rights, got := newFeed(left...), newFeed(right...), &box[string]{}
		run(t, flow.To(operators.JoinWithin(lefts.source(), rights.source(), cfg, printedPair), got.sink()))
		values := got.values()
		slices.Sort(values)
		slices.Sort(want)
		if diff := cmp.Diff(want, values); diff != "" {
			t.Errorf("pairs (-want +got):\n%s", diff)
		}
		lefts.allSettledAs(t, flow.Acked)
		rights.allSettledAs(t, flow.Acked)
	})
}
