package operators_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

func TestFeedback(t *testing.T) {
	virtual(t, "no more than bound messages are in the loop", func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[int](t)
		var now, most atomic.Int32
		loop := countdown(src, 5, 3, func(int) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}, flow.Workers(20), flow.Unordered())
		feed.Send(sequence(40)...)
		feed.Close()
		if err := flowtest.Run(t, flow.To(loop, sink)); err != nil {
			t.Error(err)
		}
		got.WantUnordered(sequence(40)...)
		feed.WantAcked(sequence(40)...)
		if most.Load() != 5 {
			t.Errorf("%d messages were in the loop at once, want 5", most.Load())
		}
	})
	virtual(t, "what is behind the loop does not hold up its entrance", func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[[]int](t)
		feed.Send(sequence(20)...)
		feed.Close()
		batches := operators.Batch(countdown(src, 2, 3, good), 20, 0) // larger than the bound
		if err := flowtest.Run(t, flow.To(batches, sink)); err != nil {
			t.Error(err)
		}
		feed.WantAcked(sequence(20)...)
		if all := got.Values(); len(all) != 1 || len(all[0]) != 20 {
			t.Errorf("batches: %v", all)
		}
	})
	virtual(t, "batches in the loop", func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[int](t)
		out := operators.Feedback(src, 7, func(loop ints) (out, back ints) {
			all := operators.Unbatch(operators.Batch(loop, 3, time.Second))
			less := operators.Map(all, flow.Pure(func(v int) int { return v - 10 }))
			return operators.Split(less, func(v int) bool { return v < 0 })
		})
		feed.Send(sequence(30)...)
		feed.Close()
		if err := flowtest.Run(t, flow.To(out, sink)); err != nil {
			t.Error(err)
		}
		feed.WantAcked(sequence(30)...)
		got.Wait(30)
	})
	virtual(t, "a loop that grows fails what it has no room for", func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		sink, _ := flowtest.Collect[int](t)
		out := operators.Feedback(src, 4, func(loop ints) (out, back ints) {
			twice := operators.FlatMap(loop, func(_ context.Context, v int, emit func(int)) error {
				for range 2 {
					emit(v - 1)
				}
				return nil
			}, flow.ChunkSize(1))
			return operators.Split(twice, func(v int) bool { return v <= 0 }, flow.ChunkSize(1))
		}, flow.OnFault(flow.DeadLetter), flow.ChunkSize(1))
		feed.Send(1, 12)
		feed.Close()
		if err := flowtest.Run(t, flow.To(out, sink)); err != nil {
			t.Error(err)
		}
		feed.WantAcked(1)
		feed.WantDead(12)
	})
	virtual(t, "a drain finishes the rounds, and a stop does not", func(t *testing.T) {
		for _, stop := range []bool{false, true} {
			src, feed := flowtest.Feed[int](t)
			sink, got := flowtest.Collect[int](t)
			r := flowtest.Start(t, flow.To(countdown(src, 5, 3, func(int) error {
				time.Sleep(time.Millisecond)
				return nil
			}), sink))
			feed.Send(sequence(10)...)
			synctest.Wait()
			if stop {
				if err := r.Stop(); err != nil {
					t.Error(err)
				}
				feed.WantOutstanding(0)
				continue
			}
			if _, err := r.Drain(context.Background()); err != nil {
				t.Error(err)
			}
			got.WantUnordered(sequence(10)...)
			feed.WantAcked(sequence(10)...)
		}
	})
}

// countOf returns a count of a stage.
func countOf(r *flow.Running, stage, name string) uint64 {
	for _, s := range r.Snapshot(context.Background()).Stages {
		if s.Name == stage {
			return s.Counts[name]
		}
	}
	return 0
}

func TestWireTap(t *testing.T) {
	virtual(t, "a stuck sink slows nothing", func(t *testing.T) {
		in, main := numbers(5000), &box[int]{}
		stuck := &box[int]{each: func(ctx context.Context, _ int) error { return wait(ctx, 1000*time.Hour) }}
		out, tap := operators.WireTap(in.source(), stuck.sink())
		began := time.Now()
		r := start(t, flow.To(out, main.sink()), tap)
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		main.want(t, sequence(5000)...)
		in.allSettledAs(t, flow.Acked)
		if n := countOf(r, "wire-tap", "tap_dropped"); n < 3000 || n > 5000 {
			t.Errorf("%d copies were dropped", n)
		}
	})
	for name, way := range map[string]func() error{
		"error":     func() error { return errBoom },
		"permanent": func() error { return flow.Permanent(errBoom) },
		"panic":     func() error { panic(errBoom) },
	} {
		virtual(t, "a sink that fails with "+name, func(t *testing.T) {
			in, main := numbers(50), &box[int]{}
			broken := &box[int]{each: func(context.Context, int) error { return way() }}
			out, tap := operators.WireTap(in.source(), broken.sink())
			r := start(t, flow.To(out, main.sink()), tap, flow.Faults(flow.Stop))
			if err := r.Wait(); err != nil {
				t.Error(err)
			}
			main.want(t, sequence(50)...)
			in.allSettledAs(t, flow.Acked)
			if n := countOf(r, "box-2", "tap_failed") + countOf(r, "box", "tap_failed"); n != 50 {
				t.Errorf("%d copies failed, want 50", n)
			}
		})
	}
	virtual(t, "a sink that opens late", func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		sink, _ := flowtest.Collect[int](t)
		late := &lateSink{}
		out, tap := operators.WireTap(src, flow.NewSink("late", func() flow.Writer[int] { return late }))
		r := flowtest.Start(t, flow.To(out, sink), tap)
		for v := range 4 {
			feed.Send(v)
			time.Sleep(600 * time.Millisecond)
		}
		feed.WantAcked(0, 1, 2, 3)
		feed.Close()
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		if late.closed != 2 { // also after the failed Open
			t.Errorf("it was closed %d times", late.closed)
		}
		if len(late.got) != 2 || countOf(r, "late", "tap_failed") != 2 {
			t.Errorf("it has written %v, and %d failed", late.got, countOf(r, "late", "tap_failed"))
		}
	})
}

// lateSink fails to open the first time.
type lateSink struct {
	opened, closed int
	got            []int
}

func (l *lateSink) Open(context.Context) error {
	if l.opened++; l.opened == 1 {
		return errors.New("not yet")
	}
	return nil
}

func (l *lateSink) Write(_ context.Context, chunk []flow.Message[int]) error {
	for _, m := range chunk {
		l.got = append(l.got, m.Value)
	}
	return nil
}

func (l *lateSink) Flush(context.Context) error { return errBoom }

func (l *lateSink) Close(context.Context) error { l.closed++; return errBoom }
