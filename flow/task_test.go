package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTask(t *testing.T) {
	wait := func(_ context.Context, stop <-chan struct{}) error { <-stop; return nil }
	errBad := errors.New("bad")
	t.Run("ends when the sources have ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, out := newScript(10), &bag[int]{}
			stopped := false
			g := New(
				"g",
				To(src.source(), out.sink()),
				Task("loop", func(ctx context.Context, stop <-chan struct{}) error {
					if StageName(ctx) != "loop" {
						t.Errorf("the task runs as %q", StageName(ctx))
					}
					<-stop
					stopped = ctx.Err() == nil
					return nil
				}),
			)
			if err := g.Run(t.Context()); err != nil || !stopped || len(out.values()) != 10 {
				t.Errorf("%v, stopped %v, %d values", err, stopped, len(out.values()))
			}
		})
	})
	t.Run("tasks alone run until they end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			g := New("g", Task("one", func(context.Context, <-chan struct{}) error {
				time.Sleep(time.Second)
				return nil
			}), Task("two", func(context.Context, <-chan struct{}) error { return nil }))
			if err := g.Run(t.Context()); err != nil || time.Since(began) != time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("is restarted, and stops the graph if it fails too often", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			g := New(
				"g",
				Restarts(3, time.Minute, time.Second),
				Task("loop", func(context.Context, <-chan struct{}) error {
					if calls++; calls == 2 {
						panic("twice")
					}
					return errBad
				}),
			)
			var failed *StageError
			err := g.Run(t.Context())
			if !errors.As(err, &failed) || !errors.Is(err, errBad) || failed.Stage != "loop" ||
				failed.Restarts != 3 ||
				calls != 4 {
				t.Errorf("%v after %d calls", err, calls)
			}
		})
	})
	t.Run("an error at the end is the result", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, out := newScript(10), &bag[int]{}
			g := New(
				"g",
				To(src.source(), out.sink()),
				Task("loop", func(_ context.Context, stop <-chan struct{}) error {
					<-stop
					return errBad
				}),
			)
			if err := g.Run(t.Context()); !errors.Is(err, errBad) {
				t.Errorf("got %v", err)
			}
			src.wantAllAcked(t)
		})
	})
	t.Run("one that does not stop is reported", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, out := newScript(10), &bag[int]{}
			g := New("g", DrainTimeout(time.Second), To(src.source(), out.sink()),
				Task("deaf", func(ctx context.Context, _ <-chan struct{}) error { <-ctx.Done(); return ctx.Err() }))
			var cut *DrainError
			if err := g.Run(t.Context()); !errors.As(err, &cut) || fmt.Sprint(cut.Stuck) != "[deaf (0 messages)]" {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("is drawn and measured", func(t *testing.T) {
		g := New("g", Task("loop", wait))
		if !strings.Contains(g.Mermaid(), `[["loop"]]`) || !strings.Contains(g.DOT(), "shape=component") {
			t.Errorf("%s\n%s", g.Mermaid(), g.DOT())
		}
		r, err := g.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s := r.Snapshot(t.Context()); len(s.Stages) != 1 || s.Stages[0].Kind != "task" || r.Ready() != nil {
			t.Errorf("%+v", s.Stages)
		}
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("mistakes", func(t *testing.T) {
		never := Every(time.Second, nil)
		for _, b := range []Branch{Task("nil", nil), Task("many", wait, Workers(2)), Task("nil", never)} {
			var wrong *BuildError
			if err := New("g", b).Validate(); !errors.As(err, &wrong) {
				t.Errorf("got %v", err)
			}
		}
		busy := Task("t", Every(0, func(context.Context, time.Time) error { return nil }))
		if err := New("g", busy).Run(t.Context()); err == nil {
			t.Error("an interval of zero was accepted")
		}
	})
}

func TestEveryGoesOnAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		var at []time.Duration
		began := time.Now()
		r, err := New("g", Task("tick", Every(time.Second, func(context.Context, time.Time) error {
			at = append(at, time.Since(began))
			switch calls.Add(1) {
			case 2:
				time.Sleep(2500 * time.Millisecond) // misses ticks
			case 5:
				return Permanent(errors.New("enough"))
			}
			return errors.New("not yet")
		}))).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(); err == nil || !strings.Contains(err.Error(), "enough") {
			t.Errorf("got %v", err)
		}
		s := time.Second
		if want := []time.Duration{s, 2 * s, 4500 * time.Millisecond, 5 * s, 6 * s}; !slices.Equal(at, want) {
			t.Errorf("called at %v, want %v", at, want)
		}
	})
}
