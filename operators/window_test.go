package operators_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/window"
	"github.com/streamerson/streamerson-go/source"
)

const sec = time.Second

func slack(d time.Duration) func(*config) { return func(c *config) { c.Slack = d } }

func lateness(d time.Duration) func(*config) { return func(c *config) { c.Lateness = d } }

func TestWindow_EventTime(t *testing.T) {
	virtual(t, "tumbling, with disorder within the slack", func(t *testing.T) {
		wantWindows(t, byTime(window.Tumbling(10*sec), slack(5*sec)), events(1, 12, 8, 14, 20, 9, 15, 31),
			[]string{"k 0-10 on time #0: 2", "k 10-20 on time #0: 3", "k 20-30 on time #0: 1", "k 30-40 on time #0: 1"},
			event{"k", 9})
	})
	virtual(t, "keys fire together, in the order in which they came", func(t *testing.T) {
		wantWindows(t, byTime(window.Tumbling(10*sec)), []event{{"b", 1}, {"a", 2}, {"b", 3}, {"c", 11}},
			[]string{"b 0-10 on time #0: 2", "a 0-10 on time #0: 1", "c 10-20 on time #0: 1"})
	})
	virtual(t, "before 1970", func(t *testing.T) {
		cfg := byTime(window.Tumbling(10 * sec))
		cfg.Time = func(e event) time.Time { return time.Unix(int64(e.At), 0) }
		in := newFeed(events(-15, -5)...)
		w := windowsOf(in.source(), cfg, window.Count[event]())
		run(t, w.parts...)
		if got := len(w.results.values()); got != 2 {
			t.Errorf("%d windows, want 2: %v", got, w.results.values())
		}
	})
	virtual(t, "sliding windows share panes", func(t *testing.T) {
		wantWindows(t, byTime(window.Sliding(10*sec, 5*sec)), events(1, 6, 12, 30),
			[]string{"k -5-5 on time #0: 1", "k 0-10 on time #0: 2", "k 5-15 on time #0: 2", "k 10-20 on time #0: 1",
				"k 25-35 on time #0: 1", "k 30-40 on time #0: 1"})
	})
	virtual(t, "a late value fires again within the lateness", func(t *testing.T) {
		wantWindows(t, byTime(window.Tumbling(10*sec), lateness(10*sec)), events(1, 11, 2, 3, 19, 20, 4),
			[]string{"k 0-10 on time #0: 1", "k 0-10 late #0: 2", "k 0-10 late #1: 3", "k 10-20 on time #0: 2",
				"k 20-30 on time #0: 1"},
			event{"k", 4})
	})
	virtual(t, "a late value opens a window that was empty", func(t *testing.T) {
		wantWindows(t, byTime(window.Tumbling(10*sec), lateness(10*sec)), events(15, 3),
			[]string{"k 0-10 late #0: 1", "k 10-20 on time #0: 1"})
	})
	virtual(t, "a value is late for one sliding window and not for another", func(t *testing.T) {
		wantWindows(t, byTime(window.Sliding(10*sec, 5*sec), lateness(5*sec)), events(11, 8),
			[]string{"k 0-10 late #0: 1", "k 5-15 on time #0: 2", "k 10-20 on time #0: 1"})
	})
	virtual(t, "sessions", func(t *testing.T) {
		wantWindows(t, byTime(window.Session(10*sec), slack(20*sec)), events(1, 14, 8, 30, 45, 80),
			[]string{"k 1-24 on time #0: 3", "k 30-40 on time #0: 1", "k 45-55 on time #0: 1", "k 80-90 on time #0: 1"})
	})
	virtual(t, "sessions that only touch stay apart", func(t *testing.T) {
		wantWindows(t, byTime(window.Session(10*sec)), events(1, 11),
			[]string{"k 1-11 on time #0: 1", "k 11-21 on time #0: 1"})
	})
	virtual(t, "late values of sessions", func(t *testing.T) {
		wantWindows(t, byTime(window.Session(10*sec), lateness(20*sec)), events(1, 30, 5, 8, 20, 90, 2),
			[]string{"k 1-11 on time #0: 1", "k 1-15 late #0: 2", "k 1-18 late #1: 3", "k 20-30 late #0: 1",
				"k 30-40 on time #0: 1", "k 90-100 on time #0: 1"},
			event{"k", 2})
	})
	virtual(t, "a session that has fired grows and fires again", func(t *testing.T) {
		wantWindows(
			t,
			byTime(window.Session(10*sec), lateness(20*sec)),
			[]event{{"k", 1}, {"x", 12}, {"k", 9}, {"x", 40}},
			[]string{"k 1-11 on time #0: 1", "k 1-19 late #0: 2", "x 12-22 on time #0: 1", "x 40-50 on time #0: 1"},
		)
	})
	virtual(t, "counts", func(t *testing.T) {
		wantWindows(t, byTime(window.CountOf(2)), []event{{"a", 3}, {"b", 1}, {"a", 2}, {"a", 9}},
			[]string{"a 2-3 on time #0: 2", "b 1-1 on time #0: 1", "a 9-9 on time #0: 1"})
	})
}

func TestWindow_ProcessingTime(t *testing.T) {
	timed := func(w window.Windows) config { return byKey(config{Windows: w}) }
	start := func(t *testing.T, cfg config) (*flowtest.Feeder[event], *box[string]) {
		src, feed := flowtest.Feed[event](t)
		w := windowsOf(src, cfg, window.Count[event]())
		flowtest.Start(t, w.parts...)
		return feed, w.results
	}
	virtual(t, "tumbling", func(t *testing.T) {
		feed, results := start(t, timed(window.Tumbling(10*sec)))
		feed.Send(events(0, 0)...)
		time.Sleep(9 * sec)
		if got := results.values(); len(got) > 0 {
			t.Errorf("fired too early: %v", got)
		}
		time.Sleep(2 * sec)
		feed.Send(event{"k", 0})
		synctest.Wait()
		if got := len(results.values()); got != 1 {
			t.Errorf("%d windows have fired after their end, want 1", got)
		}
		time.Sleep(10 * sec)
		if got := len(results.values()); got != 2 {
			t.Errorf("%d windows have fired, want 2", got)
		}
		feed.WantAcked(events(0, 0, 0)...)
	})
	virtual(t, "sessions", func(t *testing.T) {
		feed, results := start(t, timed(window.Session(10*sec)))
		for range 3 {
			feed.Send(event{"k", 0})
			time.Sleep(8 * sec)
		}
		time.Sleep(8 * sec)
		if got := len(results.values()); got != 1 {
			t.Errorf("%d sessions have ended, want 1", got)
		}
		feed.WantAcked(events(0, 0, 0)...)
	})
	virtual(t, "early panes", func(t *testing.T) {
		cfg := timed(window.Tumbling(time.Hour))
		cfg.Early = time.Minute
		feed, results := start(t, cfg)
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)) + sec)
		feed.Send(event{"k", 0})
		time.Sleep(10 * time.Minute)
		feed.Send(event{"k", 0})
		time.Sleep(time.Minute)
		if got := len(results.values()); got != 2 {
			t.Errorf("%d panes, want 2: %v", got, results.values())
		}
		feed.WantOutstanding(2)
		time.Sleep(time.Hour)
		if got := len(results.values()); got != 3 {
			t.Errorf("%d panes, want 3: %v", got, results.values())
		}
		feed.WantAcked(events(0, 0)...)
	})
	virtual(t, "counts wait for values, unless it is quiet", func(t *testing.T) {
		cfg := timed(window.CountOf(3))
		cfg.Quiet = time.Minute
		feed, results := start(t, cfg)
		feed.Send(events(0, 0)...)
		time.Sleep(50 * sec)
		feed.WantOutstanding(2)
		time.Sleep(30 * sec)
		if got := len(results.values()); got != 1 {
			t.Errorf("%d windows after a quiet minute, want 1", got)
		}
		feed.WantAcked(events(0, 0)...)
	})
}

// TestWindow_Watermark checks how the event time of several sources advances.
func TestWindow_Watermark(t *testing.T) {
	two := func(t *testing.T, cfg config) (a, b *flowtest.Feeder[event], w windowed) {
		srcA, a := flowtest.Feed[event](t, flowtest.FeedStage(flow.Name("a")))
		srcB, b := flowtest.Feed[event](t, flowtest.FeedStage(flow.Name("b")))
		keep := func(e event) bool { return e.Key != "filtered" }
		yes, no := operators.Split(operators.FanIn(srcA, srcB), keep)
		w = windowsOf(yes, cfg, window.Count[event]())
		flowtest.Start(t, append(w.parts, flow.To(no, discard[event]()))...)
		return a, b, w
	}
	want := func(t *testing.T, w windowed, n int, why string) {
		t.Helper()
		synctest.Wait()
		if got := w.results.values(); len(got) != n {
			t.Errorf("%d windows have fired, want %d: %s: %v", len(got), n, why, got)
		}
	}
	cfg := byTime(window.Tumbling(10 * sec))
	virtual(t, "the slowest source decides", func(t *testing.T) {
		a, b, w := two(t, cfg)
		a.Send(events(1, 100)...)
		want(t, w, 0, "b has delivered nothing")
		b.Send(event{"k", 5})
		want(t, w, 0, "b is at 5")
		b.Send(event{"k", 12})
		want(t, w, 1, "b is at 12")
		b.Send(event{"k", 300})
		want(t, w, 2, "a is at 100")
		w.late.want(t)
	})
	virtual(t, "an idle source does not count, and is late when it returns", func(t *testing.T) {
		a, b, w := two(t, cfg)
		b.Send(event{"k", 5})
		for i := range 12 {
			a.Send(event{"k", 20 + i})
			time.Sleep(10 * sec)
		}
		want(t, w, 2, "b is idle")
		b.Send(event{"k", 6})
		synctest.Wait()
		w.late.want(t, event{"k", 6})
		b.Send(event{"k", 33})
		want(t, w, 2, "a is at 31")
		a.Send(event{"k", 45})
		want(t, w, 2, "b is at 33")
		b.Send(event{"k", 50})
		want(t, w, 3, "a is at 45")
	})
	virtual(t, "a source that has ended, and one of which all values are filtered, are idle", func(t *testing.T) {
		a, b, w := two(t, cfg)
		b.Send(event{"filtered", 5})
		b.Close()
		a.Send(events(1, 30)...)
		want(t, w, 0, "b is not idle yet")
		time.Sleep(2 * time.Minute)
		want(t, w, 1, "both are idle: the watermark is the highest")
		a.Send(event{"k", 31})
		want(t, w, 1, "a continues")
		w.late.want(t)
	})
	virtual(t, "never idle", func(t *testing.T) {
		forever := cfg
		forever.Idle = -1
		a, _, w := two(t, forever)
		a.Send(events(1, 30)...)
		time.Sleep(24 * time.Hour)
		want(t, w, 0, "b may still come")
	})
	virtual(t, "quiet ends all windows", func(t *testing.T) {
		quiet := cfg
		quiet.Quiet = 5 * time.Minute
		a, _, w := two(t, quiet)
		a.Send(events(1, 30)...)
		time.Sleep(4 * time.Minute)
		want(t, w, 1, "both are idle")
		time.Sleep(3 * time.Minute)
		want(t, w, 2, "it is quiet")
		a.WantAcked(events(1, 30)...)
		a.Send(event{"k", 31})
		synctest.Wait()
		w.late.want(t, event{"k", 31})
	})
	virtual(t, "a message without an entry has a time too", func(t *testing.T) {
		in := newFeed(events(1, 30)...)
		bare := flow.Step(in.source(), "bare", func() flow.StepFunc[event, event] {
			return func(_ context.Context, m flow.Message[event]) (flow.Message[event], bool, error) {
				return m, true, nil
			}
		})
		w := windowsOf(bare, cfg, window.Count[event]())
		run(t, w.parts...)
		w.results.want(t, "k 0-10 on time #0: 1", "k 30-40 on time #0: 1")
	})
}

func TestWindow_Entries(t *testing.T) {
	virtual(t, "are unsettled until their last window has fired", func(t *testing.T) {
		src, feed := flowtest.Feed[event](t)
		w := windowsOf(src, byTime(window.Sliding(20*sec, 10*sec)), window.Count[event]())
		flowtest.Start(t, w.parts...)
		feed.Send(events(1, 2, 3, 15)...) // fires -10-10
		synctest.Wait()
		feed.WantOutstanding(4)
		feed.Send(event{"k", 20}) // fires 0-20
		feed.WantAcked(events(1, 2, 3)...)
		feed.Send(event{"k", 99})
		feed.WantAcked(events(1, 2, 3, 15, 20)...)
	})
	virtual(t, "go back when the result fails, for each of their windows", func(t *testing.T) {
		for _, failing := range []string{"k -10-10 on time #0: 2", "k 0-20 on time #0: 2"} {
			in := newFeed(events(1, 2, 40)...)
			w := windowsOf(in.source(), byTime(window.Sliding(20*sec, 10*sec)), window.Count[event](),
				flow.OnFault(flow.NackAfter(sec)))
			w.results.each = func(_ context.Context, v string) error {
				if v == failing {
					return flow.RetryAfter(sec, errBoom)
				}
				return nil
			}
			run(t, w.parts...)
			in.outcomes(t, map[int]flow.Outcome{0: flow.Nacked, 1: flow.Nacked})
		}
	})
	virtual(t, "as many as MaxHeld: an early pane carries the oldest", func(t *testing.T) {
		src, feed := flowtest.Feed[event](t)
		cfg := byTime(window.Tumbling(10 * sec))
		cfg.MaxHeld = 3
		w := windowsOf(src, cfg, window.Count[event]())
		flowtest.Start(t, w.parts...)
		feed.Send([]event{{"a", 1}, {"b", 2}, {"a", 3}, {"b", 4}}...)
		feed.WantAcked(event{"a", 1}, event{"a", 3})
		feed.Send(event{"a", 5}, event{"c", 10})
		synctest.Wait()
		w.results.want(t, "a 0-10 early #0: 2", "b 0-10 early #0: 2",
			"a 0-10 on time #0: 3", "b 0-10 on time #0: 2")
	})
	virtual(t, "fewer credits than windows need", func(t *testing.T) {
		in := numbers(300)
		cfg := window.Config[int, int]{
			Windows: window.CountOf(1000),
			MaxHeld: 20,
			Key:     func(v int) int { return v % 7 },
		}
		results, late := operators.Window(in.source(flow.MaxInFlight(20)), cfg, window.Count[int]())
		run(t, flow.To(results, discard[window.Result[int, int]]()), flow.To(late, discard[int]()))
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a drain gives the entries of open windows back", func(t *testing.T) {
		in := newFeed(events(1, 2, 13, 14)...)
		in.stays = true
		w := windowsOf(in.source(), byTime(window.Tumbling(10*sec)), window.Count[event]())
		r := start(t, w.parts...)
		synctest.Wait()
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		w.results.want(t, "k 0-10 on time #0: 2")
		in.unfinished(t, []int{0, 1})
	})
	virtual(t, "a drain cuts windows short that cannot go back", func(t *testing.T) {
		in := make(chan event)
		w := windowsOf(source.Chan(in), byTime(window.Tumbling(10*sec)), window.Count[event]())
		r := start(t, w.parts...)
		for _, e := range events(1, 2) {
			in <- e
		}
		synctest.Wait()
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		w.results.want(t, "k 0-10 early #0: 2")
	})
}

// TestWindow_BadInput checks values that no window takes, and functions that fail.
func TestWindow_BadInput(t *testing.T) {
	virtual(t, "no time, or one too far ahead", func(t *testing.T) {
		zero, far, old := event{"zero", 0}, event{"far", 0}, event{"old", 0}
		cfg := byTime(window.Tumbling(10 * sec))
		now := time.Now()
		cfg.Time = func(e event) time.Time {
			switch e {
			case zero:
				return time.Time{}
			case far:
				return now.Add(25 * time.Hour)
			case old:
				return time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC)
			}
			return e.time()
		}
		in := []event{{"k", 1}, zero, far, old, {"k", 2}}
		wantWindows(t, cfg, in, []string{"k 0-10 on time #0: 2"}, zero, far, old)
		cfg.MaxAhead = -1
		results, late := operators.Window(newFeed(far).source(), cfg, window.Count[event]())
		none := &box[event]{}
		run(t, flow.To(results, discard[countResult]()), flow.To(late, none.sink()))
		none.want(t)
	})
	virtual(t, "a NaN key", func(t *testing.T) {
		in, got, keys := numbers(2), &box[int]{}, []float64{1, math.NaN()}
		results, late := operators.Window(in.source(), window.Config[int, float64]{
			Windows: window.CountOf(1), Key: func(i int) float64 { return keys[i] },
		}, window.Count[int]())
		run(t, flow.To(results, discard[window.Result[float64, int]]()), flow.To(late, got.sink()))
		got.want(t, 1)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "more than MaxWindows", func(t *testing.T) {
		for _, w := range []window.Windows{window.Tumbling(10 * sec), window.Session(10 * sec), window.CountOf(10)} {
			cfg := byTime(w)
			cfg.MaxWindows = 2
			in := newFeed([]event{{"a", 1}, {"b", 1}, {"c", 1}, {"a", 2}}...)
			got := windowsOf(in.source(), cfg, window.Count[event]())
			run(t, got.parts...)
			got.late.want(t, event{"c", 1})
			in.allSettledAs(t, flow.Acked)
		}
	})
	boom := func(e event) {
		if e.At == 3 {
			panic(errBoom)
		}
	}
	count := window.Count[event]()
	failing := count
	failing.Add = func(n int, e event) (int, error) { boom(e); return n + 1, nil }
	dead := flow.OnFault(flow.DeadLetter)
	for name, w := range map[string]func(flow.Source[event]) windowed{
		"Key": func(in flow.Source[event]) windowed {
			cfg := byTime(window.Tumbling(10 * sec))
			cfg.Key = func(e event) string { boom(e); return e.Key }
			return windowsOf(in, cfg, count, dead)
		},
		"Time": func(in flow.Source[event]) windowed {
			cfg := byTime(window.Tumbling(10 * sec))
			cfg.Time = func(e event) time.Time { boom(e); return e.time() }
			return windowsOf(in, cfg, count, dead)
		},
		"Add": func(in flow.Source[event]) windowed {
			return windowsOf(in, byTime(window.Tumbling(10*sec)), failing, dead)
		},
		"Add of a session": func(in flow.Source[event]) windowed {
			return windowsOf(in, byTime(window.Session(10*sec)), failing, dead)
		},
		"Add of a count": func(in flow.Source[event]) windowed {
			return windowsOf(in, byTime(window.CountOf(3)), failing, dead)
		},
	} {
		virtual(t, name+" panics", func(t *testing.T) {
			in := newFeed(events(3, 1, 3, 2)...)
			got := w(in.source())
			run(t, got.parts...)
			in.outcomes(t, map[int]flow.Outcome{0: flow.Dead, 2: flow.Dead})
			if v := got.results.values(); len(v) != 1 || v[0][len(v[0])-1] != '2' {
				t.Errorf("results %v, want one of 2 values", v)
			}
		})
	}
	virtual(t, "Merge panics", func(t *testing.T) {
		bad := count
		bad.Merge = func(_, _ int) int { panic(errBoom) }
		in := newFeed(events(1, 6, 50)...)
		w := windowsOf(in.source(), byTime(window.Sliding(10*sec, 5*sec)), bad)
		run(t, w.parts...)
		in.outcomes(t, map[int]flow.Outcome{0: flow.Nacked, 1: flow.Nacked})
		in = newFeed(events(1, 15, 8, 50)...)
		w = windowsOf(in.source(), byTime(window.Session(10*sec), slack(20*sec)), bad, dead)
		run(t, w.parts...)
		in.outcomes(t, map[int]flow.Outcome{2: flow.Dead})
	})
	virtual(t, "Result panics", func(t *testing.T) {
		bad := count
		bad.Result = func(n int) int {
			if n == 2 {
				panic(errBoom)
			}
			return n
		}
		in := newFeed(events(1, 2, 15, 4, 28, 16)...)
		w := windowsOf(in.source(), byTime(window.Tumbling(10*sec), lateness(30*sec)), bad)
		run(t, w.parts...)
		in.outcomes(t, map[int]flow.Outcome{0: flow.Nacked, 1: flow.Nacked, 5: flow.Nacked})
	})
}

func TestWindow_Validate(t *testing.T) {
	check := func(cfg config, agg window.Aggregate[event, int, int], want ...string) {
		t.Helper()
		results, late := operators.Window(newFeed[event]().source(), cfg, agg)
		for i := range want {
			want[i] = "window: " + want[i]
		}
		invalid(t, want, flow.To(results, discard[countResult]()), flow.To(late, discard[event]()))
	}
	count := window.Count[event]()
	check(byKey(config{}), count, "Windows")
	check(config{Windows: window.Tumbling(0)}, window.Aggregate[event, int, int]{}, "Key", "agg.New", "agg.Add",
		"agg.Merge", "agg.Result", "Windows.Size", "Windows.Every")
	check(byKey(config{Windows: window.Sliding(sec, time.Minute)}), count, "Windows.Every")
	check(byKey(config{Windows: window.Sliding(time.Hour, 7)}), count, "Windows.Every")
	check(byKey(config{Windows: window.Session(-1)}), count, "Windows.Gap")
	check(
		byKey(config{Windows: window.CountOf(0), Slack: -1, Lateness: -1, Quiet: -1, Early: -1, MaxWindows: -1}),
		count,
		"Slack",
		"Lateness",
		"Quiet",
		"Early",
		"MaxWindows",
		"Windows.N",
	)
	check(byKey(config{Windows: window.CountOf(1), MaxHeld: -1}), count, "MaxHeld")
	check(byKey(config{Windows: window.CountOf(1), MaxHeld: 5000}), count, "")
}

func TestResult_Names(t *testing.T) {
	r := window.Result[string, int]{
		Key:    "k",
		Start:  time.Unix(1, 0),
		End:    time.Unix(2, 0),
		Pane:   window.Late,
		Number: 3,
	}
	got := []string{r.Window(), r.ID()}
	if diff := cmp.Diff([]string{"k/1000000000-2000000000", "k/1000000000-2000000000/late-3"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
