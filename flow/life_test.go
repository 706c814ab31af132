package flow

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

func start(t *testing.T, g *Graph) *Running {
	t.Helper()
	r, err := g.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDrainFinishesWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(1000), &bag[int]{}
		src.every, src.perRead, src.forever = 10*time.Millisecond, 5, true
		slow := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
			time.Sleep(20 * time.Millisecond)
			return v, nil
		}, Workers(8))
		ctx, cancel := context.WithCancel(t.Context())
		r, err := New("g", To(unbatch(batch(slow, 7, 0)), out.sink())).Start(ctx)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(155 * time.Millisecond)
		cancel() // as on Ctrl-C
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		if d := cmp.Diff(upTo(src.next), out.values()); d != "" || src.next < 50 {
			t.Errorf("%d read (-want +got):\n%s", src.next, d)
		}
		report := r.Report()
		if report.Settled != uint64(src.next) || report.Released != 0 || len(report.Stuck) != 0 {
			t.Errorf("report %+v", report)
		}
	})
}

func TestDrainTimeoutGivesBackAndNamesTheStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(50)
		src.forever = true
		var cause error
		hang := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
			if v == 3 {
				<-ctx.Done()
				cause = context.Cause(ctx)
				return 0, ctx.Err()
			}
			return v, nil
		}, Name("hang"))
		r := start(t, New("g", To(hang, (&bag[int]{}).sink()), DrainTimeout(2*time.Second)))
		synctest.Wait()
		report, err := r.Drain(t.Context())
		var drain *DrainError
		if !errors.As(err, &drain) || !errors.Is(err, ErrDrainTimeout) || report.Took != 2*time.Second {
			t.Fatalf("%v, %+v", err, report)
		}
		if len(report.Stuck) != 1 || report.Stuck[0].Stage != "hang" || report.Stuck[0].Holding == 0 {
			t.Errorf("stuck %v", report.Stuck)
		}
		if !errors.Is(cause, ErrDrainTimeout) {
			t.Errorf("the handler's context was cancelled because of %v", cause)
		}
		src.wantOutcomes(t, func(int) Outcome { return Nacked })
		if report.Released != 50 || src.settled[10][0].Fault != nil {
			t.Errorf("released %d, want 50 without a fault", report.Released)
		}
	})
}

// A handler that ignores its context is abandoned, and the report says so.
func TestHandlerThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(10)
		src.forever = true
		release := make(chan struct{})
		hang := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
			<-release
			return v, nil
		}, Name("deaf"))
		r := start(t, New("g", To(hang, (&bag[int]{}).sink()), DrainTimeout(time.Second), KillGrace(time.Second)))
		synctest.Wait()
		_, err := r.Drain(t.Context())
		var drain *DrainError
		if !errors.As(err, &drain) || len(drain.Stuck) == 0 || drain.Stuck[0].Stage != "deaf" {
			t.Fatalf("got %v", err)
		}
		src.wantOutcomes(t, func(int) Outcome { return Nacked })
		close(release) // it returns after the graph has ended, and disturbs nothing
		synctest.Wait()
	})
}

func TestStopCancelsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(5000)
		src.forever = true
		var cause error
		hang := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
			if v < 10 {
				return v, nil
			}
			<-ctx.Done()
			cause = context.Cause(ctx)
			return 0, ctx.Err()
		})
		r := start(t, New("g", To(hang, (&bag[int]{}).sink())))
		synctest.Wait()
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(cause, ErrStopped) {
			t.Errorf("cause %v", cause)
		}
		src.wantOutcomes(t, func(int) Outcome { return Nacked })
	})
}

func TestContextValuesReachHandlers(t *testing.T) {
	type key struct{}
	src, out := newScript(1), &bag[string]{}
	named := mapTo(
		src.source(),
		func(ctx context.Context, _ int) (string, error) { return ctx.Value(key{}).(string), nil },
	)
	ctx := context.WithValue(t.Context(), key{}, "here")
	if err := New("g", To(named, out.sink())).Run(ctx); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"here"}, out.values()); d != "" {
		t.Error(d)
	}
}

func TestSourceIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(500), &bag[int]{}
		src.perRead = 10
		failed := map[int]bool{}
		src.readErr = func(next int) error {
			if next%100 == 42 && !failed[next] {
				failed[next] = true
				if next == 142 {
					panic("reader")
				}
				return errBoom
			}
			return nil
		}
		var restarts []string
		g := New("g", To(src.source(), out.sink()), OnEvent(Hooks{Restarted: func(stage string, _ int, _ error) {
			restarts = append(restarts, stage)
		}}))
		if err := g.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		if d := cmp.Diff(upTo(500), out.values()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if src.opened != 6 || src.closed != 6 || len(restarts) != 5 {
			t.Errorf("opened %d, closed %d, restarted %v", src.opened, src.closed, restarts)
		}
	})
}

func TestTooManyRestartsStopTheGraph(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(500)
		src.openErr = func() error { return errBoom }
		err := New("g", To(src.source(), (&bag[int]{}).sink()), Restarts(3, time.Minute, time.Second)).Run(t.Context())
		var stage *StageError
		if !errors.As(err, &stage) || stage.Restarts != 3 || stage.Stage != "script" || src.opened != 4 {
			t.Fatalf("%v after %d lives", err, src.opened)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		src := newScript(500)
		src.openErr = func() error { return Permanent(errBoom) }
		err := New("g", To(src.source(), (&bag[int]{}).sink())).Run(t.Context())
		if !errors.Is(err, errBoom) || src.opened != 1 {
			t.Fatalf("%v after %d lives", err, src.opened)
		}
	})
}

// flaky is a sink that in its first lives fails to open or to flush, or panics unexpectedly.
type flaky struct {
	*bag[int]
	opens   *int
	failing func(open int) error
}

func (f flaky) Open(context.Context) error { *f.opens++; return f.failing(*f.opens) }

func (f flaky) Write(ctx context.Context, chunk []Message[int]) error {
	for _, m := range chunk {
		f.got = append(f.got, m.Value)
	}
	return nil
}

func TestSinkIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out, opens := newScript(500), &bag[int]{}, 0
		to := NewSink("flaky", func() Writer[int] {
			return flaky{bag: out, opens: &opens, failing: func(n int) error {
				switch n {
				case 1:
					return errBoom
				case 2:
					panic("open")
				}
				return nil
			}}
		}, Async())
		if err := New("g", To(src.source(), to)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		if d := cmp.Diff(upTo(500), out.values()); d != "" || opens != 3 {
			t.Errorf("opened %d times (-want +got):\n%s", opens, d)
		}
	})
}

// The region that fails is restarted and its held messages go back. Other regions are not affected.
func TestSmallestRegionIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, left, right := newScript(100), &bag[int]{}, &bag[[]int]{}
		src.every, src.perRead = time.Second, 10
		out := copies(src.source(), 2)
		lives := 0
		bad := Via(out[1], "bad", func() Handler[int, []int] {
			lives++
			return &ringer{batcher: batcher{n: 1000, age: 5 * time.Second}, fail: lives == 1}
		})
		if err := New("g", To(out[0], left.sink()), To(bad, right.sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(upTo(100), left.values()); d != "" {
			t.Errorf("the healthy branch (-want +got):\n%s", d)
		}
		nacked := 0
		src.wantOutcomes(t, func(v int) Outcome {
			if src.settled[v][0].Outcome == Nacked {
				nacked++
				return Nacked
			}
			return Acked
		})
		if lives != 2 || nacked == 0 || nacked > 60 {
			t.Errorf("%d lives, %d entries given back", lives, nacked)
		}
	})
}

type ringer struct {
	batcher
	fail bool
}

func (r *ringer) Ring(ctx context.Context, emit Emit[[]int]) error {
	if r.fail {
		return errBoom
	}
	return r.batcher.Ring(ctx, emit)
}

func TestGoexitStopsTheGraph(t *testing.T) {
	src := newScript(10)
	err := New("g", To(mapTo(src.source(), func(_ context.Context, v int) (int, error) {
		if v == 3 {
			runtime.Goexit()
		}
		return v, nil
	}), (&bag[int]{}).sink())).Run(t.Context())
	if !errors.Is(err, errGoexit) {
		t.Fatalf("got %v", err)
	}
	src.wantOutcomes(t, func(v int) Outcome { return src.settled[v][0].Outcome })
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(1000), &bag[int]{}
		src.every, src.perRead, src.forever = time.Second, 1, true
		r := start(t, New("g", To(src.source(), out.sink())))
		time.Sleep(5500 * time.Millisecond)
		r.Pause()
		time.Sleep(time.Minute)
		if n := len(out.values()); n < 5 || n > 6 || r.State() != Paused {
			t.Errorf("%d values, state %v", n, r.State())
		}
		r.Resume()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(out.values()); n < 10 || r.State() != Active {
			t.Errorf("%d values, state %v", n, r.State())
		}
		r.Pause()
		if _, err := r.Drain(t.Context()); err != nil { // a paused graph drains too
			t.Fatal(err)
		}
		src.wantAllAcked(t)
	})
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(10_000, MaxInFlight(1000)), &bag[int]{slow: time.Hour}
		r := start(t, New("g", To(mapTo(src.source(), double), out.sink(Async()))))
		time.Sleep(time.Minute)
		synctest.Wait()
		s := r.Snapshot(t.Context())
		if s.State != Active || s.Graph != "g" || s.Uptime != time.Minute {
			t.Errorf("%+v", s)
		}
		source := s.Sources[0]
		if source.InFlight != 1000 || source.Read != 1000 || source.Settled != 0 || source.Oldest != time.Minute ||
			source.Lag != -1 {
			t.Errorf("source %+v", source)
		}
		if names := []string{s.Stages[0].Name, s.Stages[1].Name, s.Stages[2].Name}; !slices.Equal(names,
			[]string{"script", "map", "bag"}) {
			t.Errorf("stages %v", names)
		}
		if len(s.Edges) != 2 || s.Edges[1].From != "map" || s.Edges[1].To != "bag" || s.Edges[1].Fill == 0 ||
			s.Edges[1].Blocked != time.Minute {
			t.Errorf("edges %+v", s.Edges)
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		if s := r.Snapshot(t.Context()); s.State != Ended || s.Sources[0].InFlight != 0 || s.Sources[0].Nacked == 0 {
			t.Errorf("at the end %+v", s)
		}
	})
}

// bad is a source with entries that cannot become messages.
type badEntries struct{ scriptReader }

func (r *badEntries) Read(_ context.Context, in *Intake[int]) error {
	for i := range 10 {
		if i%3 == 1 {
			in.AddBad(Meta{ID: itoa(i)}, 5, errBoom)
		} else {
			in.Add(i, Meta{ID: itoa(i)}, 5)
		}
	}
	r.next = 10
	return io.EOF
}

func TestBadEntriesGoByThePolicy(t *testing.T) {
	src, out := newScript(10), &bag[int]{}
	bad := NewSource("bad", func() Reader[int] { return &badEntries{scriptReader{script: src}} }, src.opts...)
	if err := New("g", To(bad, out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(v int) Outcome {
		if v%3 == 1 {
			return Dead
		}
		return Acked
	})
	if d := cmp.Diff([]int{0, 2, 3, 5, 6, 8, 9}, out.values()); d != "" {
		t.Error(d)
	}
}

// TestInlineSourceGoesOn: a failure behind an inline source does not restart its Reader.
func TestInlineSourceGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out, opens := newScript(500, Traits{Inline: true}), &bag[int]{}, 0
		src.perRead = 10
		ends := 0
		last := Via(src.source(), "last", func() Handler[int, int] { return &lastWord{ends: &ends} })
		to := NewSink("flaky", func() Writer[int] {
			return flaky{bag: out, opens: &opens, failing: func(n int) error {
				if n == 1 {
					return errBoom
				}
				return nil
			}}
		}, ChunkSize(1))
		if err := New("g", To(last, to)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		if d := cmp.Diff(append(upTo(500), -1), out.values()); d != "" || src.opened != 1 {
			t.Errorf("opened %d times (-want +got):\n%s", src.opened, d)
		}
	})
}

// lastWord passes all values on and emits one more at the end, unless it fails first.
type lastWord struct{ ends *int }

func (l *lastWord) Handle(_ context.Context, m Message[int], emit Emit[int]) error {
	emit(m)
	return nil
}

func (l *lastWord) End(_ context.Context, emit Emit[int]) error {
	if *l.ends++; *l.ends == 1 {
		return errBoom
	}
	emit(NewMessage(-1, Meta{}))
	return nil
}

func TestDrainCutByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(2)
		src.forever = true
		hang := mapTo(src.source(), func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		r := start(t, New("g", To(hang, (&bag[int]{}).sink())))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		report, err := r.Drain(ctx)
		var drain *DrainError
		if !errors.As(err, &drain) || report.Released != 2 || report.Took != time.Second {
			t.Errorf("%v, %+v", err, report)
		}
	})
}

// If settled entries could not be committed, the end is not clean: the source will deliver them
// again.
func TestLastCommitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(20), &bag[int]{}
		src.commits = func() error { return errBoom }
		err := New("g", To(src.source(), out.sink())).Run(t.Context())
		var drain *DrainError
		if !errors.As(err, &drain) || drain.Uncommitted != 20 || len(out.values()) != 20 {
			t.Errorf("got %v", err)
		}
	})
}

func TestStepThatJoins(t *testing.T) {
	src, out := newScript(4), &bag[int]{}
	out.fail = func(int) error { return Reject(errBoom) }
	joined := Step(src.source(), "pairs", func() StepFunc[int, int] {
		var held []Held[int]
		return func(ctx context.Context, m Message[int]) (Message[int], bool, error) {
			held = append(held, Hold(ctx, m))
			if len(held) < 2 {
				return m, false, nil
			}
			pair := Join(ctx, held[0].Value+held[1].Value, held)
			held = nil
			return pair, true, nil
		}
	})
	if err := New("g", To(joined, out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(int) Outcome { return Dead })
}

func TestForgottenHolds(t *testing.T) {
	src := newScript(4)
	src.opts = nil
	hoard := Via(src.source(), "hoarder", func() Handler[int, int] {
		return HandlerFunc[int, int](func(ctx context.Context, m Message[int], _ Emit[int]) error {
			Hold(ctx, m)
			return nil
		})
	})
	err := New("g", To(hoard, (&bag[int]{}).sink())).Run(t.Context())
	var stage *StageError
	if !errors.As(err, &stage) || stage.Stage != "hoarder" || !errors.Is(err, errLeftHeld) ||
		!errors.Is(err, ErrNotRedeliverable) {
		t.Errorf("got %v", err)
	}
}

func TestPromisesWithoutCommitter(t *testing.T) {
	src := NewSource("promises", func() Reader[int] { return &counter{max: 10} }, Traits{Redelivers: true})
	err := New("g", To(src, (&bag[int]{}).sink())).Run(t.Context())
	if !errors.Is(err, errNoCommitter) {
		t.Errorf("got %v", err)
	}
}

// moody is a sink that panics once and then cannot be opened for a while.
type moody struct {
	*bag[int]
	opens, writes *int
}

func (m moody) Open(context.Context) error {
	if *m.opens++; *m.opens == 2 || *m.opens == 3 {
		return errBoom
	}
	return nil
}

func (m moody) Write(_ context.Context, chunk []Message[int]) error {
	if *m.writes++; *m.writes == 1 {
		panic("ouch")
	}
	for i := range chunk {
		m.got = append(m.got, chunk[i].Value)
	}
	return nil
}

func TestSinkThatPanicsIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out, opens, writes := newScript(10), &bag[int]{}, 0, 0
		to := NewSink("moody", func() Writer[int] { return moody{out, &opens, &writes} })
		if err := New("g", To(src.source(), to)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		if d := cmp.Diff(upTo(10), out.values()); d != "" || opens != 4 {
			t.Errorf("opened %d times (-want +got):\n%s", opens, d)
		}
	})
}

// TestFailureUndoesDone: if a call passes on a held message, ends its hold and then fails, both are
// undone.
func TestFailureUndoesDone(t *testing.T) {
	src, out := newScript(1), &bag[string]{}
	parts := Via(src.source(), "parts", func() Handler[int, string] {
		return HandlerFunc[int, string](func(_ context.Context, m Message[int], emit Emit[string]) error {
			emit(Derive(m, "first"))
			emit(Derive(m, "second"))
			return nil
		})
	})
	failed := false
	late := Via(parts, "late", func() Handler[string, string] {
		var held []Held[string]
		return HandlerFunc[string, string](func(ctx context.Context, m Message[string], emit Emit[string]) error {
			if m.Value == "first" {
				held = append(held, Hold(ctx, m))
				return nil
			}
			for _, h := range held {
				emit(h.Message)
				h.Done()
			}
			held = nil
			if !failed {
				failed = true
				return errBoom
			}
			emit(m)
			return nil
		})
	}, OnFault(Retry(1, 0, Stop)))
	if err := New("g", To(late, out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"second"}, out.values()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	src.wantOutcomes(t, func(int) Outcome { return Nacked }) // "first" is delivered again
}

// If a source has never opened by the time its graph is asked to end, the end is not clean.
func TestSourceThatNeverOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(10)
		src.openErr = func() error { return errBoom }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := New("g", To(src.source(), (&bag[int]{}).sink()), Restarts(100, time.Hour, time.Second)).Run(ctx)
		if !errors.Is(err, errBoom) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLoggerReachesHandlers(t *testing.T) {
	var log strings.Builder
	src, out := newScript(1), &bag[int]{}
	g := New("g", To(mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
		Logger(ctx).Info("from the handler")
		return v, nil
	}), out.sink()), Log(slog.New(zerolog.NewSlogHandler(zerolog.New(&log)))))
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "from the handler") || !strings.Contains(log.String(), `"graph":"g"`) {
		t.Errorf("log %s", log.String())
	}
}
