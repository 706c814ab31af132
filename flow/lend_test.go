package flow

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// borrowed reports whether the lane of the caller is run by the goroutine of a sender.
func borrowed() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, ").borrowed") {
			return true
		}
		if !more {
			return false
		}
	}
}

// lone is a source that other processes share. Its entries come one at a time.
func lone(n int) *script {
	src := newScript(n, Traits{GivesBack: true})
	src.perRead, src.every = 1, time.Millisecond
	return src
}

// lentTo returns a stage that records which values were handled on the goroutine of the source.
func lentTo(in Source[int], lent *[]int, f func(context.Context, int) (int, error)) Source[int] {
	return mapTo(in, func(ctx context.Context, v int) (int, error) {
		if borrowed() {
			*lent = append(*lent, v)
		}
		return f(ctx, v)
	}, Traits{Holds: 100}) // for the source to read ahead
}

func echo(_ context.Context, v int) (int, error) { return v, nil }

// The first message shows that the lane is quick, so the others need no other goroutine.
func TestSourceHandlesLoneEntriesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out, lent := lone(50), &bag[int]{}, []int(nil)
		r := start(t, New("g", To(lentTo(src.source(), &lent, echo), out.sink())))
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		if d := cmp.Diff(upTo(50)[1:], lent); d != "" {
			t.Errorf("handled by the source (-want +got):\n%s", d)
		}
		if d := cmp.Diff(upTo(50), out.values()); d != "" {
			t.Errorf("values (-want +got):\n%s", d)
		}
		if e := r.Snapshot(t.Context()).Edges[0]; e.Messages != 50 || e.Fill != 0 {
			t.Errorf("got %+v, want 50 messages, and none that waits", e)
		}
	})
}

func TestSourceLeavesToTheLane(t *testing.T) {
	for name, c := range map[string]struct {
		with func(*script)
		slow int // the value that takes long to handle; -1: all
		want []int
	}{
		"slow handlers":       {slow: -1, with: func(s *script) { s.every = 5 * time.Millisecond }},
		"what follows a slow": {slow: 2, with: func(s *script) { s.every = 5 * time.Millisecond }, want: []int{1, 2, 4, 5}},
		"large chunks":        {slow: -2, with: func(s *script) { s.n, s.perRead = 36, lendMost+1 }},
		"sources that nothing else feeds": {slow: -2, with: func(s *script) {
			s.opts = []StageOption{Traits{Redelivers: true}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, out, lent := lone(6), &bag[int]{}, []int(nil)
				c.with(src)
				stage := lentTo(src.source(), &lent, func(_ context.Context, v int) (int, error) {
					if v == c.slow || c.slow == -1 {
						time.Sleep(2 * lendFor)
					}
					return v, nil
				})
				if err := New("g", To(stage, out.sink())).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				src.wantAllAcked(t)
				if d := cmp.Diff(c.want, lent); d != "" {
					t.Errorf("handled by the source (-want +got):\n%s", d)
				}
			})
		})
	}
}

// The order is kept, however the lane's goroutine and the source take turns.
func TestLendingKeepsTheOrder(t *testing.T) {
	const n = 20_000
	src, out := newScript(n, Traits{GivesBack: true}), &bag[int]{}
	src.readErr = func(next int) error { src.perRead = next % (2 * lendMost); return nil }
	src.perRead = 1
	var lent atomic.Int32
	stage := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
		if v%64 == 0 && borrowed() {
			lent.Add(1)
		}
		if v%7 == 0 {
			runtime.Gosched()
		}
		return v, nil
	})
	if err := New("g", To(stage, out.sink(ChunkSize(3)))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantAllAcked(t)
	if !slices.Equal(upTo(n), out.values()) {
		t.Error("the values are out of order")
	}
	t.Logf("%d of %d values were handled by the source", lent.Load(), n/64)
}

// The timer of a batch starts when the source handles its first message.
func TestAlarmsOfALentLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := lone(3)
		src.every = 100 * time.Millisecond
		began := time.Now()
		var at []time.Duration
		noted := NewSink("note", func() Writer[[]int] {
			return WriterFunc[[]int](func(context.Context, []Message[[]int]) error {
				at = append(at, time.Since(began))
				return nil
			})
		})
		if err := New("g", To(batch(src.source(), 10, 30*time.Millisecond), noted)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		want := []time.Duration{130 * time.Millisecond, 230 * time.Millisecond, 330 * time.Millisecond}
		if d := cmp.Diff(want, at); d != "" {
			t.Errorf("times of batches (-want +got):\n%s", d)
		}
	})
}

// restless is a handler with an alarm that panics once, after the third message.
type restless struct {
	seen           int
	lent, panicked *bool
}

func (h *restless) Handle(_ context.Context, m Message[int], emit Emit[int]) error {
	if h.seen++; h.seen == 3 && !*h.panicked {
		*h.lent = borrowed()
	}
	emit(m)
	return nil
}

func (h *restless) Next() time.Time {
	if h.seen == 3 && !*h.panicked {
		*h.panicked = true
		panic("no time")
	}
	return time.Time{}
}

func (h *restless) Ring(context.Context, Emit[int]) error { return nil }

// A panic restarts the lane, and not the source, although it happened on the source's goroutine.
func TestPanicOfALentLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out, lent, panicked := lone(12), &bag[int]{}, false, false
		stage := Via(src.source(), "via", func() Handler[int, int] {
			return &restless{lent: &lent, panicked: &panicked}
		})
		r := start(t, New("g", To(stage, out.sink())))
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		if d := cmp.Diff(upTo(12), out.values()); d != "" {
			t.Errorf("values (-want +got):\n%s", d)
		}
		if !lent || src.opened != 1 || r.Snapshot(t.Context()).Stages[1].Restarts == 0 {
			t.Errorf("lent %v, source opened %d times, stages %+v", lent, src.opened, r.Snapshot(t.Context()).Stages)
		}
	})
}

func TestGoexitOfALentLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, lent := lone(10), []int(nil)
		stage := lentTo(src.source(), &lent, func(_ context.Context, v int) (int, error) {
			if v == 3 {
				runtime.Goexit()
			}
			return v, nil
		})
		err := New("g", To(stage, (&bag[int]{}).sink())).Run(t.Context())
		var failed *StageError
		if !errors.Is(err, errGoexit) || !errors.As(err, &failed) || failed.Stage != "map" {
			t.Errorf("got %v, want the stage's Goexit", err)
		}
		if !slices.Contains(lent, 3) {
			t.Errorf("the source handled %v, want 3 among them", lent)
		}
		src.wantOutcomes(t, func(v int) Outcome {
			if v == 3 {
				return Nacked
			}
			return Acked
		})
	})
}

// A drain finishes the messages that the source has begun, and reads no more.
func TestDrainOfALentLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, h, lent := lone(1000), &handled{}, []int(nil)
		src.perRead, src.forever = 4, true
		begun := make(chan struct{})
		stage := lentTo(src.source(), &lent, func(_ context.Context, v int) (int, error) {
			if h.add(v); v == 41 {
				close(begun)
				time.Sleep(time.Second)
			}
			return v, nil
		})
		r := start(t, New("g", To(stage, (&bag[int]{}).sink())))
		<-begun
		if _, err := r.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if acked, unbegun := h.wantSplit(t, src); acked != 44 || unbegun != 0 || !slices.Contains(lent, 41) {
			t.Errorf("%d acked, %d given back, and the source handled %v", acked, unbegun, lent)
		}
	})
}

// A stop cancels the handler that the source has called.
func TestStopOfALentLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, lent := lone(10), []int(nil)
		src.forever = true
		begun := make(chan struct{})
		stage := lentTo(src.source(), &lent, func(ctx context.Context, v int) (int, error) {
			if v == 3 {
				close(begun)
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return v, nil
		})
		r := start(t, New("g", To(stage, (&bag[int]{}).sink())))
		<-begun
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		src.wantOutcomes(t, func(v int) Outcome {
			if v == 3 {
				return Nacked
			}
			return Acked
		})
		if !slices.Contains(lent, 3) {
			t.Errorf("the source handled %v, want 3 among them", lent)
		}
	})
}

func TestLeaseLostOfALentLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, lent := newLeased(6), []int(nil)
		src.opts = append(src.opts, Traits{GivesBack: true})
		src.perRead, src.every = 1, time.Millisecond
		var cause error
		begun := make(chan struct{})
		stage := lentTo(src.source(), &lent, func(ctx context.Context, v int) (int, error) {
			if v == 3 {
				close(begun)
				<-ctx.Done()
				cause = context.Cause(ctx)
				return 0, ctx.Err()
			}
			return v, ctx.Err()
		})
		r := start(t, New("g", To(stage, (&bag[int]{}).sink())))
		<-begun
		src.lose([]string{"3"})
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		src.wantLost(t, 3)
		if !slices.Contains(lent, 3) || !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("the source handled %v; the handler was cancelled by %v", lent, cause)
		}
	})
}
