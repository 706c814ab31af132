package flow

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// takes makes a stage that works d on each message.
func takes(in Source[int], name string, d time.Duration, opts ...StageOption) Source[int] {
	return Transform(in, name, func() func(context.Context, int) (int, error) {
		return func(_ context.Context, v int) (int, error) {
			time.Sleep(d)
			return v, nil
		}
	}, opts...)
}

// writes makes a sink that works d on each chunk.
func writes(d time.Duration, opts ...StageOption) Sink[int] {
	return NewSink("sink", func() Writer[int] {
		return WriterFunc[int](func(ctx context.Context, _ []Message[int]) error {
			select {
			case <-time.After(d):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}, opts...)
}

// wantBusy compares the busy times of a snapshot, by stage; -1 stands for null. near is the
// tolerance.
func wantBusy(t *testing.T, s Snapshot, near time.Duration, want map[string]time.Duration) {
	t.Helper()
	for _, st := range s.Stages {
		got := time.Duration(-1)
		if st.Busy != nil {
			got = *st.Busy
		}
		if w, ok := want[st.Name]; ok && (got-w).Abs() > near {
			t.Errorf("%s was busy for %v, want %v", st.Name, got, w)
		}
	}
}

func wantBottleneck(t *testing.T, s Snapshot, stage string) {
	t.Helper()
	switch b := s.Bottleneck; {
	case b == nil:
		t.Errorf("no bottleneck, want %s", stage)
	case b.Stage != stage || !strings.Contains(b.Reason, stage):
		t.Errorf("the bottleneck is %+v, want %s", *b, stage)
	}
}

func TestFault_O2_FusedStagesAreTimedEach(t *testing.T) {
	const ms = time.Millisecond
	ends := func(t *testing.T, g *Graph) Snapshot {
		t.Helper()
		r := start(t, g)
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		return r.Snapshot(t.Context())
	}
	for name, inline := range map[string][]StageOption{"behind an edge": nil, "inline": {Traits{Inline: true}}} {
		t.Run("slow, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newScript(100, inline...).source()
				s := ends(t, New("g", To(takes(takes(takes(in, "a", ms), "b", 7*ms), "c", 2*ms), writes(5*ms))))
				want := map[string]time.Duration{"script": -1, "a": 100 * ms, "b": 700 * ms, "c": 200 * ms}
				wantBusy(t, s, 0, want)
				wantBottleneck(t, s, "b")
			})
		})
	}
	t.Run("quick", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const n, us = 20_000, time.Microsecond
			in := newScript(n).source()
			s := ends(t, New("g", To(takes(takes(in, "a", us), "b", 4*us), writes(ms))))
			wantBusy(t, s, us, map[string]time.Duration{"a": n * us, "b": 4 * n * us})
			wantBottleneck(t, s, "b")
		})
	})
	t.Run("emitting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			in := Via(newScript(10).source(), "via", func() Handler[int, int] {
				return HandlerFunc[int, int](func(_ context.Context, m Message[int], emit Emit[int]) error {
					for range 2 * defaultChunk {
						emit(m)
						time.Sleep(ms)
					}
					return nil
				})
			})
			s := ends(t, New("g", To(takes(in, "b", 2*ms), writes(0))))
			wantBusy(t, s, 0, map[string]time.Duration{"via": 20 * defaultChunk * ms, "b": 40 * defaultChunk * ms})
			wantBottleneck(t, s, "b")
		})
	})
	t.Run("at an alarm", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := newScript(5)
			src.forever = true
			r := start(t, New("g", To(takes(unbatch(batch(src.source(), 100, time.Second)), "b", ms), writes(0))))
			time.Sleep(time.Minute)
			synctest.Wait()
			wantBusy(t, r.Snapshot(t.Context()), 0, map[string]time.Duration{"b": 5 * ms, "batch": 0})
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("gathered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			in := Gather("gather", []Source[int]{newScript(10).source()}, func() GatherHandler[int, int] {
				return slowGather(3 * ms)
			})
			s := ends(t, New("g", To(takes(in, "b", ms), writes(0))))
			wantBusy(t, s, 0, map[string]time.Duration{"gather": 30 * ms, "b": 10 * ms})
			wantBottleneck(t, s, "gather")
		})
	})
	t.Run("workers", func(t *testing.T) {
		for name, opts := range map[string][]StageOption{
			"ordered": {Workers(4)}, "unordered": {Workers(4), Unordered()},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					in := takes(newScript(100).source(), "pool", 4*ms, opts...)
					s := ends(t, New("g", To(takes(in, "behind", 2*ms), writes(0))))
					wantBusy(t, s, 0, map[string]time.Duration{"pool": 400 * ms, "behind": 200 * ms})
					wantBottleneck(t, s, "behind") // the pool takes 100 ms, because it works on four at once
				})
			})
		}
	})
}

type slowGather time.Duration

func (d slowGather) Handle(_ context.Context, _ int, m Message[int], emit Emit[int]) error {
	time.Sleep(time.Duration(d))
	emit(m)
	return nil
}

func TestFault_O2_WaitsAreNotBusy(t *testing.T) {
	t.Run("blocked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := newScript(10_000)
			src.forever = true
			in := takes(takes(src.source(), "a", time.Millisecond), "b", time.Millisecond)
			r := start(t, New("g", To(in, writes(time.Hour, Async()))))
			time.Sleep(time.Minute)
			synctest.Wait()
			s := r.Snapshot(t.Context())
			wantBottleneck(t, s, "sink") // it has not returned yet
			wantBusy(t, s, 0, map[string]time.Duration{"script": -1, "sink": time.Minute - 2*time.Millisecond})
			a, b := s.Stages[1], s.Stages[2]
			if *a.Busy != *b.Busy || a.Blocked != 0 || *a.Busy+*b.Busy+b.Blocked != time.Minute {
				t.Errorf(
					"a was busy for %v and blocked for %v, b for %v and %v",
					*a.Busy,
					a.Blocked,
					*b.Busy,
					b.Blocked,
				)
			}
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			ended := r.Snapshot(t.Context()).Stages[2].Blocked
			time.Sleep(time.Minute)
			if later := r.Snapshot(t.Context()).Stages[2].Blocked; later != ended {
				t.Errorf("a stopped stage was blocked for %v, and later for %v", ended, later)
			}
		})
	})
	t.Run("retrying", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			flaky := mapTo(
				takes(newScript(1).source(), "a", 2*time.Second),
				func(_ context.Context, v int) (int, error) {
					time.Sleep(time.Second)
					if tries++; tries == 1 {
						return 0, errors.New("not yet")
					}
					return v, nil
				},
				OnFault(Retry(3, time.Minute, Nack)),
			)
			r := start(t, New("g", To(flaky, writes(0))))
			time.Sleep(10 * time.Second)
			s := r.Snapshot(t.Context())
			if m := s.Stages[2]; m.Retrying != 7*time.Second {
				t.Errorf("it has waited for %v, want 7s", m.Retrying)
			}
			wantBottleneck(t, s, "map")
			if err := r.Wait(); err != nil {
				t.Fatal(err)
			}
			wantBusy(
				t,
				r.Snapshot(t.Context()),
				0,
				map[string]time.Duration{"a": 2 * time.Second, "map": 2 * time.Second},
			)
		})
	})
}

// A handler that does not return is busy, and is the bottleneck, while it is in the call.
func TestFault_O2_StuckStageIsNamed(t *testing.T) {
	// stuck makes a stage that takes 1 ms for a message, and hangs in the last one.
	stuck := func(in Source[int], last int, opts ...StageOption) Source[int] {
		return Transform(in, "stuck", func() func(context.Context, int) (int, error) {
			return func(ctx context.Context, v int) (int, error) {
				if v == last {
					<-ctx.Done()
					return 0, context.Cause(ctx)
				}
				time.Sleep(time.Millisecond)
				return v, nil
			}
		}, opts...)
	}
	const ms = time.Millisecond
	hour := func(t *testing.T, in Source[int], want map[string]time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := start(t, New("g", To(in, writes(0))))
			time.Sleep(time.Hour)
			synctest.Wait()
			s := r.Snapshot(t.Context())
			wantBusy(t, s, 0, want)
			wantBottleneck(t, s, "stuck")
			if b := s.Bottleneck; b != nil && b.Share < 0.2 {
				t.Errorf("it is busy %.0f%% of the time", 100*b.Share)
			}
			time.Sleep(time.Minute)
			want["stuck"] += time.Minute
			wantBusy(t, r.Snapshot(t.Context()), 0, want)
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			wantBusy(t, r.Snapshot(t.Context()), 0, want)
			time.Sleep(time.Hour)
			wantBusy(t, r.Snapshot(t.Context()), 0, want)
		})
	}
	for name, n := range map[string]int{"first message": 1, "second message": 2, "later message": 200} {
		t.Run(name, func(t *testing.T) {
			after := time.Duration(n-1) * ms
			in := stuck(takes(newScript(n).source(), "before", 3*ms), n-1)
			before := time.Duration(n) * 3 * ms
			want := map[string]time.Duration{"before": before, "stuck": time.Hour - before - 2*after, "after": -1}
			if n > 1 {
				want["after"] = 2 * after
			}
			hour(t, takes(in, "after", 2*ms), want)
		})
	}
	t.Run("alone", func(t *testing.T) {
		hour(t, takes(stuck(newScript(1).source(), 0, Async()), "after", ms, Async()),
			map[string]time.Duration{"stuck": time.Hour, "after": -1})
	})
	t.Run("after others have worked for longer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			in := stuck(takes(newScript(11).source(), "before", time.Hour, Async()), 10, Async())
			r := start(t, New("g", To(takes(in, "after", 2*ms, Async()), writes(0))))
			time.Sleep(11*time.Hour + 5*time.Second)
			wantBottleneck(t, r.Snapshot(t.Context()), "before")
			time.Sleep(time.Minute)
			s := r.Snapshot(t.Context())
			wantBottleneck(t, s, "stuck")
			if b := s.Bottleneck; b.Reason != `a call of "stuck" has not returned for 1m5s` {
				t.Errorf("the reason is %q", b.Reason)
			}
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			wantBottleneck(t, r.Snapshot(t.Context()), "before")
		})
	})
	t.Run("slow and not stuck", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			in := takes(newScript(25).source(), "busy", 20*time.Second, Async())
			r := start(t, New("g", To(takes(in, "slow", 15*time.Second, Async()), writes(0))))
			time.Sleep(20*20*time.Second + 12*time.Second)
			wantBottleneck(t, r.Snapshot(t.Context()), "busy")
			if err := r.Wait(); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("one of several workers", func(t *testing.T) {
		hour(t, stuck(newScript(4).source(), 3, Workers(4)), map[string]time.Duration{"stuck": time.Hour + 3*ms})
	})
	t.Run("handler that emits", func(t *testing.T) {
		in := Via(newScript(1).source(), "stuck", func() Handler[int, int] {
			return HandlerFunc[int, int](func(ctx context.Context, m Message[int], emit Emit[int]) error {
				for range 2*defaultChunk + 1 {
					emit(m)
				}
				<-ctx.Done()
				return context.Cause(ctx)
			})
		})
		const passed = 2 * defaultChunk * ms
		hour(t, takes(in, "after", ms), map[string]time.Duration{"stuck": time.Hour - passed, "after": passed})
	})
	t.Run("alarm", func(t *testing.T) {
		src := newScript(1)
		src.forever = true
		in := Via(
			src.source(),
			"stuck",
			func() Handler[int, int] { return &stuckRing{} },
			Traits{Holds: 1, HoldsFor: time.Minute},
		)
		hour(t, takes(in, "after", ms), map[string]time.Duration{"stuck": time.Hour - time.Minute, "after": -1})
	})
	t.Run("retry", func(t *testing.T) {
		tries := 0
		in := mapTo(newScript(1).source(), func(ctx context.Context, v int) (int, error) {
			if tries++; tries == 1 {
				return 0, errors.New("not yet")
			}
			<-ctx.Done()
			return v, context.Cause(ctx)
		}, Name("stuck"), OnFault(Retry(3, time.Minute, Nack)))
		synctest.Test(t, func(t *testing.T) {
			r := start(t, New("g", To(takes(in, "after", ms), writes(0))))
			time.Sleep(time.Hour)
			s := r.Snapshot(t.Context())
			wantBottleneck(t, s, "stuck")
			for _, st := range s.Stages {
				if st.Name == "stuck" && (st.Retrying < time.Second || *st.Busy != time.Hour-st.Retrying) {
					t.Errorf("it was busy for %v, and waited for %v", *st.Busy, st.Retrying)
				}
			}
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("message that is not sampled", func(t *testing.T) {
		// Message 100 of a chunk of quick ones hangs. Its goroutine has one stage.
		in := Transform(newScript(defaultChunk).source(), "stuck", func() func(context.Context, int) (int, error) {
			return func(ctx context.Context, v int) (int, error) {
				if v == 100 {
					<-ctx.Done()
				}
				return v, context.Cause(ctx)
			}
		}, Async())
		hour(t, takes(in, "after", 0, Async()), map[string]time.Duration{"stuck": time.Hour})
	})
}

// A call outside a sample is attributed to one of the stages on the goroutine.
func TestFault_O2_StuckStageIsGuessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Only the first message takes time. So message 100 is not sampled.
		stage := func(in Source[int], name string, d time.Duration, last int) Source[int] {
			return Transform(in, name, func() func(context.Context, int) (int, error) {
				return func(ctx context.Context, v int) (int, error) {
					switch v {
					case 0:
						time.Sleep(d)
					case last:
						<-ctx.Done()
					}
					return v, context.Cause(ctx)
				}
			})
		}
		in := stage(stage(newScript(defaultChunk).source(), "a", time.Millisecond, -1), "b", 3*time.Millisecond, 100)
		r := start(t, New("g", To(in, writes(0))))
		time.Sleep(time.Hour)
		b := r.Snapshot(t.Context()).Bottleneck
		if b == nil || b.Stage != "b" || !strings.Contains(b.Reason, `"b" or "a" or`) {
			t.Errorf("the bottleneck is %+v", b)
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// stuckRing holds a message for a minute, and then hangs.
type stuckRing struct{ due time.Time }

func (s *stuckRing) Handle(ctx context.Context, m Message[int], _ Emit[int]) error {
	Hold(ctx, m)
	s.due = time.Now().Add(time.Minute)
	return nil
}

func (s *stuckRing) Next() time.Time { return s.due }

func (s *stuckRing) Ring(ctx context.Context, _ Emit[int]) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestFault_O2_NotMeasuredIsNull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(0)
		src.forever = true
		r := start(t, New("g", To(takes(src.source(), "a", 0), writes(0))))
		synctest.Wait()
		s := r.Snapshot(t.Context())
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), `"busy":null`); n != 3 || !strings.Contains(string(b), `"bottleneck":null`) {
			t.Errorf("%s", b)
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}
