package flow

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// handled records the values that a handler has begun.
type handled struct {
	mu     sync.Mutex
	values []int
}

func (h *handled) add(v int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.values = append(h.values, v)
}

// wantSplit checks that the handled entries are acked and that the other entries read were given
// back as not begun.
func (h *handled) wantSplit(t *testing.T, src *script) (acked, unbegun int) {
	t.Helper()
	src.mu.Lock()
	defer src.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range src.next {
		all := src.settled[v]
		if len(all) != 1 {
			t.Errorf("value %d settled %d times", v, len(all))
			continue
		}
		switch st := all[0]; {
		case slices.Contains(h.values, v) && st.Outcome == Acked:
			acked++
		case !slices.Contains(h.values, v) && st.Outcome == Nacked && st.Unbegun && st.Fault == nil:
			unbegun++
		default:
			t.Errorf("value %d: begun %v, %+v", v, slices.Contains(h.values, v), st)
		}
	}
	return acked, unbegun
}

func TestFault_D4_DrainGivesBackWhatNoHandlerHasBegun(t *testing.T) {
	key := KeyedBy(func(v int) int { return v % 3 })
	slow := func(h *handled) func(context.Context, int) (int, error) {
		return func(_ context.Context, v int) (int, error) {
			h.add(v)
			time.Sleep(50 * time.Millisecond)
			return v, nil
		}
	}
	graphs := map[string]func(src Source[int], h *handled) Branch{
		"fused": func(src Source[int], h *handled) Branch { return To(mapTo(src, slow(h)), (&bag[int]{}).sink()) },
		"steps behind": func(src Source[int], h *handled) Branch {
			return To(mapTo(mapTo(src, slow(h)), double, Async()), (&bag[int]{}).sink(Async()))
		},
		"workers": func(src Source[int], h *handled) Branch {
			return To(mapTo(src, slow(h), Workers(4)), (&bag[int]{}).sink())
		},
		"unordered": func(src Source[int], h *handled) Branch {
			return To(mapTo(src, slow(h), Workers(4), Unordered()), (&bag[int]{}).sink())
		},
		"keyed": func(src Source[int], h *handled) Branch {
			return To(mapTo(src, slow(h), Workers(4), key), (&bag[int]{}).sink())
		},
		"merged": func(src Source[int], h *handled) Branch {
			return To(mapTo(Merge("merge", []Source[int]{src}), slow(h)), (&bag[int]{}).sink())
		},
		"passed on": func(src Source[int], h *handled) Branch {
			passed := stepTo(src, func(_ context.Context, v int) (int, error) { return v, nil })
			passed.out.node.Passes = true
			return To(mapTo(passed, slow(h), Async()), (&bag[int]{}).sink())
		},
		"sink": func(src Source[int], h *handled) Branch { return To(src, slowSink(slow(h))) },
		"sink workers": func(src Source[int], h *handled) Branch {
			return To(src, slowSink(slow(h)), Workers(2), Unordered())
		},
		"sink by key": func(src Source[int], h *handled) Branch { return To(src, slowSink(slow(h)), Workers(2), key) },
	}
	for name, graph := range graphs {
		for _, inline := range []bool{false, true} {
			if inline && name != "fused" && name != "keyed" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					src, h := newScript(5000, Traits{GivesBack: true}), &handled{}
					src.forever = true
					if inline {
						src.opts = append(src.opts, Traits{Inline: true})
					}
					r := start(t, New("g", graph(src.source(), h)))
					time.Sleep(1020 * time.Millisecond)
					for src.unsettled() < 15 { // an inline source may be between two chunks
						time.Sleep(50 * time.Millisecond)
					}
					report, err := r.Drain(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					acked, unbegun := h.wantSplit(t, src)
					if acked < 20 || unbegun < 10 || report.Took > 200*time.Millisecond {
						t.Errorf("%d acked and %d given back in %v", acked, unbegun, report.Took)
					}
					if report.Settled != uint64(acked) || report.Released != uint64(unbegun) ||
						report.Unbegun != uint64(unbegun) {
						t.Errorf("report %+v, want %d settled and %d given back", report, acked, unbegun)
					}
				})
			})
		}
	}
}

func slowSink(f func(context.Context, int) (int, error)) Sink[int] {
	return NewSink("slow", func() Writer[int] {
		return WriterFunc[int](func(ctx context.Context, chunk []Message[int]) error {
			_, err := f(ctx, chunk[0].Value)
			return err
		})
	}, ChunkSize(1))
}

// Messages behind a handler that hangs are given back without waiting for it.
func TestFault_D4_DrainGivesBackBehindAHandlerThatHangs(t *testing.T) {
	for name, opts := range map[string][]StageOption{
		"fused": nil, "workers": {Workers(2)}, "unordered": {Workers(2), Unordered()},
		"one key": {Workers(2), KeyedBy(func(int) int { return 0 })},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, h := newScript(500, Traits{GivesBack: true}), &handled{}
				src.forever = true
				release := make(chan struct{})
				hang := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
					h.add(v)
					<-release
					return v, nil
				}, append(opts, Traits{Holds: 300, HoldsFor: time.Hour})...) // so that many entries are read
				r := start(t, New("g", To(hang, (&bag[int]{}).sink()), DrainTimeout(time.Hour)))
				time.Sleep(time.Second)
				drained := make(chan error, 1)
				go func() {
					_, err := r.Drain(t.Context())
					drained <- err
				}()
				time.Sleep(lookLast) // the committer has checked
				src.mu.Lock()
				back, left := len(src.settled), src.next-len(src.settled)
				src.mu.Unlock()
				if back < 100 || left > 2 {
					t.Errorf("%d went back, %d did not", back, left)
				}
				close(release)
				if err := <-drained; err != nil {
					t.Error(err)
				}
				h.wantSplit(t, src)
			})
		})
	}
}

// A source that no other process shares is drained to its end. Everything begun is finished,
// including messages that a batch holds.
func TestFault_D4_DrainFinishesWhatWasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out, h := newScript(5000, Traits{GivesBack: true}), &bag[[]int]{}, &handled{}
		src.forever = true
		batches := batch(src.source(), 700, 0)
		batches.out.node.Passes = true
		slow := mapTo(batches, func(_ context.Context, vs []int) ([]int, error) {
			time.Sleep(300 * time.Millisecond)
			for _, v := range vs {
				h.add(v)
			}
			return vs, nil
		}, Async())
		r := start(t, New("g", To(slow, out.sink())))
		time.Sleep(time.Second)
		if _, err := r.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		acked, _ := h.wantSplit(t, src)
		if got := out.values(); acked < 2100 || len(got[0]) != 700 {
			t.Errorf("%d acked, batches of %d", acked, len(got[0]))
		}
	})
}

func TestFault_D4_ReadAheadFitsThePace(t *testing.T) {
	run := func(
		name string, d time.Duration, graph func(src Source[int]) Branch, check func(t *testing.T, s SourceSnapshot),
	) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := newScript(10_000_000, Traits{GivesBack: true})
				src.forever = true
				r := start(t, New("g", graph(src.source())))
				time.Sleep(d)
				check(t, r.Snapshot(t.Context()).Sources[0])
				if err := r.Stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
	between := func(low, high int) func(*testing.T, SourceSnapshot) {
		return func(t *testing.T, s SourceSnapshot) {
			if s.InFlight > high || s.ReadAhead < low || s.ReadAhead > high {
				t.Errorf("in flight %d, may be %d, want %d to %d", s.InFlight, s.ReadAhead, low, high)
			}
		}
	}
	sleep := func(d time.Duration) func(context.Context, int) (int, error) {
		return func(ctx context.Context, v int) (int, error) {
			if err := Sleep(ctx, d); err != nil {
				return 0, err
			}
			return v, nil
		}
	}
	discard := (&bag[int]{}).sink()
	run("a second of 10 ms each", 5*time.Second, func(src Source[int]) Branch {
		return To(mapTo(src, sleep(10*time.Millisecond)), discard)
	}, between(90, 110))
	run("what takes five seconds", time.Minute, func(src Source[int]) Branch {
		return To(mapTo(src, sleep(5*time.Second)), discard)
	}, between(1, 4))
	run("workers that take two seconds", 20*time.Second, func(src Source[int]) Branch {
		return To(mapTo(src, sleep(2*time.Second), Workers(100)), discard)
	}, between(100, 160))
	run("fast", 2*time.Second, func(src Source[int]) Branch {
		return To(mapTo(src, sleep(500*time.Microsecond)), discard)
	}, between(1900, 2100))
	run("chunks whose write takes two seconds", time.Minute, func(src Source[int]) Branch {
		return To(src, (&bag[int]{slow: 2 * time.Second}).sink())
	}, func(t *testing.T, s SourceSnapshot) {
		if s.Settled < 3000 || s.ReadAhead > 1100 { // about 120 if the write's time did not count
			t.Errorf("settled %d, may be in flight %d", s.Settled, s.ReadAhead)
		}
	})
	run("a declared batch", 5*time.Second, func(src Source[int]) Branch {
		return To(batch(src, 3000, 0), (&bag[[]int]{slow: time.Second}).sink())
	}, func(t *testing.T, s SourceSnapshot) {
		if s.Settled < 3*3000 {
			t.Errorf("settled %d", s.Settled)
		}
	})
	run("a holder that declares nothing", 2*time.Second, func(src Source[int]) Branch {
		held := Via(src, "hold", func() Handler[int, []int] { return &batcher{n: 3000} })
		return To(held, (&bag[[]int]{slow: 100 * time.Millisecond}).sink())
	}, func(t *testing.T, s SourceSnapshot) {
		if s.Settled < 5*3000 {
			t.Errorf("settled %d", s.Settled)
		}
	})
	run("the same, inline", 2*time.Second, func(src Source[int]) Branch {
		src.out.node.Inline = true
		held := Via(src, "hold", func() Handler[int, []int] { return &batcher{n: 3000} })
		return To(held, (&bag[[]int]{slow: 100 * time.Millisecond}).sink())
	}, func(t *testing.T, s SourceSnapshot) {
		if s.Settled < 5*3000 {
			t.Errorf("settled %d", s.Settled)
		}
	})
}

func TestFault_D4_DrainSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		src := newScript(50)
		src.forever = true
		hang := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}, Name("hang"))
		r := start(t, New("g", To(hang, (&bag[int]{}).sink()), DrainTimeout(12*time.Second),
			Log(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))))
		synctest.Wait()
		if _, err := r.Drain(t.Context()); err == nil {
			t.Error("a drain that hangs ended well")
		}
		for _, want := range []string{
			`msg="graph still drains" graph=g entries=50 waiting_for="hang (50 messages)" since=5s left=7s`,
			`since=10s left=2s`,
			`msg="drain timeout: unfinished entries are given back" graph=g entries=50 ` +
				`waiting_for="hang (50 messages)" timeout=12s`,
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %s:\n%s", want, log.String())
			}
		}
	})
}

// At a stop, the messages that a stage holds have not been handled, and waiting messages have not
// been begun. A message inside a handler belongs to that handler.
func TestFault_D1_StopTellsWhatWasNotBegun(t *testing.T) {
	outcomes := func(src *script) (unbegun, begun []int) {
		src.mu.Lock()
		defer src.mu.Unlock()
		for v := range src.next {
			if st := src.settled[v]; len(st) == 1 && st[0].Outcome == Nacked && st[0].Unbegun {
				unbegun = append(unbegun, v)
			} else if len(st) == 1 && st[0].Outcome == Nacked {
				begun = append(begun, v)
			}
		}
		return unbegun, begun
	}
	t.Run("waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := newScript(5)
			src.forever = true
			hang := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			})
			r := start(t, New("g", To(hang, (&bag[int]{}).sink())))
			synctest.Wait()
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			unbegun, begun := outcomes(src)
			if d := cmp.Diff([][]int{{1, 2, 3, 4}, {0}}, [][]int{unbegun, begun}); d != "" {
				t.Errorf("not begun, and begun (-want +got):\n%s", d)
			}
			if report := r.Report(); report.Released != 5 || report.Unbegun != 4 || report.Settled != 0 {
				t.Errorf("report %+v", report)
			}
		})
	})
	t.Run("held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := newScript(5)
			src.forever = true
			r := start(t, New("g", To(batch(src.source(), 10, 0), (&bag[[]int]{}).sink())))
			synctest.Wait()
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			unbegun, begun := outcomes(src)
			if len(unbegun) != 5 || len(begun) != 0 {
				t.Errorf("not begun %v, begun %v", unbegun, begun)
			}
		})
	})
	t.Run("one branch has begun", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := newScript(1)
			src.forever = true
			both := copies(src.source(), 2)
			hang := mapTo(both[0], func(ctx context.Context, v int) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			})
			r := start(t, New("g", To(hang, (&bag[int]{}).sink()), To(batch(both[1], 10, 0), (&bag[[]int]{}).sink())))
			synctest.Wait()
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
			if unbegun, begun := outcomes(src); len(unbegun) != 0 || len(begun) != 1 {
				t.Errorf("not begun %v, begun %v", unbegun, begun)
			}
		})
	})
	t.Run("a region that failed", func(t *testing.T) {
		src, out := newScript(20), &bag[int]{}
		opens := 0
		to := NewSink("flaky", func() Writer[int] {
			return flaky{bag: out, opens: &opens, failing: func(n int) error {
				if n == 1 {
					return errBoom
				}
				return nil
			}}
		}, ChunkSize(1))
		ends := 0
		last := Via(src.source(), "last", func() Handler[int, int] { return &lastWord{ends: &ends} })
		_ = New("g", To(last, to), Restarts(3, time.Minute, 0)).Run(t.Context())
		src.wantAllAcked(t)
	})
}
