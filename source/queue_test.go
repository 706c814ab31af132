package source

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

// TestQueueOutcomes: Deliver reports the outcome and the cause, and no outcome stops the graph.
func TestQueueOutcomes(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name    string
		err     error
		policy  flow.Policy
		outcome flow.Outcome
	}{
		{"nacked", boom, flow.Nack, flow.Nacked},
		{"after_retries", boom, flow.Retry(2, time.Millisecond, flow.Nack), flow.Nacked},
		{"dead", boom, flow.DeadLetter, flow.Dead},
		{"rejected", flow.Reject(boom), flow.Nack, flow.Dead},
		{"later", flow.RetryAfter(time.Hour, boom), flow.Nack, flow.Nacked},
		{"dropped", boom, flow.Drop, flow.Dropped},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, inbox := Queue[int](4)
				r := rig[int]{on: func(_ context.Context, v int) error {
					if v == 1 {
						return c.err
					}
					return nil
				}}
				run := start(t, r.graph(src, flow.Faults(c.policy)))
				if err := inbox.Deliver(t.Context(), 0); err != nil {
					t.Errorf("deliver 0: %v", err)
				}
				err := inbox.Deliver(t.Context(), 1)
				var o *OutcomeError
				if !errors.As(err, &o) || o.Outcome != c.outcome || !errors.Is(err, boom) {
					t.Errorf("deliver 1: %v", err)
				}
				if err := inbox.Deliver(t.Context(), 2); err != nil {
					t.Errorf("deliver 2: %v", err)
				}
				inbox.Close()
				if err := run.Wait(); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 2, c.outcome: 1}, r.settled()); diff != "" {
					t.Errorf("settled (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestQueueStopPolicy(t *testing.T) {
	boom := errors.New("boom")
	src, inbox := Queue[int](4)
	r := rig[int]{on: func(context.Context, int) error { return boom }}
	run := start(t, r.graph(src, flow.Faults(flow.Stop)))
	var o *OutcomeError
	if err := inbox.Deliver(t.Context(), 1); !errors.As(err, &o) || o.Outcome != flow.Failed || !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if err := run.Wait(); !errors.Is(err, boom) {
		t.Errorf("the graph ended with %v", err)
	}
}

func TestQueueClose(t *testing.T) {
	src, inbox := Queue[int](10)
	for i := range 10 {
		if err := inbox.Offer(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	inbox.Close()
	inbox.Close()
	if err := inbox.Offer(t.Context(), 10); !errors.Is(err, ErrClosed) {
		t.Errorf("offer: %v", err)
	}
	if err := inbox.Deliver(t.Context(), 10); !errors.Is(err, ErrClosed) {
		t.Errorf("deliver: %v", err)
	}
	var r rig[int]
	if err := r.graph(src, flow.Faults(flow.Stop)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ints(10), r.got()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestQueueIsBounded: a value that does not fit waits for room, its context, or the queue's end.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, inbox := Queue[int](2)
		for i := range 2 {
			if err := inbox.Offer(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := inbox.Offer(ctx, 9); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("offer to a full queue: %v", err)
		}
		if err := inbox.Deliver(ctx, 9); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnsettled) {
			t.Errorf("deliver to a full queue: %v", err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := inbox.Offer(context.Background(), 2); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if n := inbox.Len(); n != 2 {
			t.Errorf("%d values in a queue of 2", n)
		}
		var r rig[int]
		run := start(t, r.graph(src))
		wg.Wait()
		synctest.Wait()
		drain(t, run)
		if diff := cmp.Diff(ints(3), r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for i := range 2 {
			if err := inbox.Offer(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() {
			if err := inbox.Offer(context.Background(), 9); !errors.Is(err, ErrClosed) {
				t.Errorf("waiting while the queue is closed: %v", err)
			}
		})
		synctest.Wait()
		inbox.Close()
		wg.Wait()
	})
}

// TestQueueWithdraws: if Deliver has given up, its value is not delivered and its room is free
// again.
func TestQueueWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, inbox := Queue[int](1)
		for range 3 {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("too slow"))
			if err := inbox.Deliver(ctx, 9); err == nil || err.Error() != "source: value was not delivered: too slow" {
				t.Errorf("got %v", err)
			}
			cancel()
		}
		if err := inbox.Offer(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		inbox.Close()
		var r rig[int]
		if err := r.graph(src).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{1}, r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestQueueUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, inbox := Queue[int](1)
		r := rig[int]{on: func(context.Context, int) error { time.Sleep(2 * time.Second); return nil }}
		run := start(t, r.graph(src, flow.DrainTimeout(time.Minute)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := inbox.Deliver(ctx, 1); !errors.Is(err, ErrUnsettled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		drain(t, run)
	})
}

// TestQueueGraphEnds: no caller hangs when the graph ends, in any state of its value, and offered
// values stay.
func TestQueueGraphEnds(t *testing.T) {
	for _, how := range []string{"drain", "stop"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, inbox := Queue[int](3, flow.MaxInFlight(1))
				r := rig[int]{on: func(ctx context.Context, v int) error {
					select {
					case <-time.After(500 * time.Millisecond):
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}}
				g := r.graph(src)
				run := start(t, g)
				errs := make([]error, 6)
				var wg sync.WaitGroup
				for i := range errs {
					wg.Go(func() {
						if i == 2 {
							errs[i] = inbox.Offer(context.Background(), i)
						} else {
							errs[i] = inbox.Deliver(context.Background(), i)
						}
					})
					synctest.Wait()
				}
				if how == "drain" {
					drain(t, run)
				} else if err := run.Stop(); err != nil {
					t.Error(err)
				}
				wg.Wait()
				var o *OutcomeError
				switch {
				case how == "drain" && errs[0] != nil:
					t.Errorf("in flight: %v", errs[0])
				case how == "stop" && (!errors.As(errs[0], &o) || o.Outcome != flow.Nacked || o.Err != nil):
					t.Errorf("in flight: %v", errs[0])
				}
				for i, err := range errs[1:] {
					if i+1 != 2 && !errors.Is(err, ErrEnded) {
						t.Errorf("value %d: %v", i+1, err)
					}
				}
				if errs[2] != nil || inbox.Len() != 1 {
					t.Errorf("the offered value: %v, %d are waiting", errs[2], inbox.Len())
				}
				run = start(t, g) // and the queue continues to work
				if err := inbox.Deliver(t.Context(), 7); err != nil {
					t.Error(err)
				}
				drain(t, run)
				got := r.got()
				if diff := cmp.Diff([]int{2, 7}, got[len(got)-2:]); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestQueueKeepsWhatCameBack: an offered value that the end of a run interrupted is the next run's first.
func TestQueueKeepsWhatCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, inbox := Queue[int](9)
		r := rig[int]{on: func(ctx context.Context, v int) error {
			if v == 1 {
				<-ctx.Done()
			}
			return context.Cause(ctx)
		}}
		g := r.graph(src)
		run := start(t, g)
		for i := range 4 {
			if err := inbox.Offer(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if err := run.Stop(); err != nil {
			t.Error(err)
		}
		r.on = nil
		inbox.Close()
		if err := g.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(ints(4), r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestQueueConcurrently(t *testing.T) {
	const callers, each = 20, 200
	src, inbox := Queue[int](7)
	var r rig[int]
	r.on = func(_ context.Context, v int) error {
		if v%10 == 3 {
			return flow.Skip
		}
		return nil
	}
	g := r.graph(src)
	a, b := start(t, g), start(t, g) // both share it
	var wg sync.WaitGroup
	var wrong atomic.Int64
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				v := c*each + i
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				if v%7 == 0 { // gives up at some point
					cancel()
				}
				err := inbox.Deliver(ctx, v)
				cancel()
				var o *OutcomeError
				switch skipped := errors.As(err, &o); {
				case v%7 == 0 && errors.Is(err, context.Canceled):
				case skipped != (v%10 == 3), skipped && o.Outcome != flow.Dropped, !skipped && err != nil:
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	inbox.Close()
	if err := errors.Join(a.Wait(), b.Wait()); err != nil {
		t.Error(err)
	}
	if wrong.Load() > 0 || inbox.Len() != 0 || len(inbox.slots) != 0 {
		t.Errorf("%d wrong outcomes, %d waiting, %d slots taken", wrong.Load(), inbox.Len(), len(inbox.slots))
	}
}

func BenchmarkQueueDeliver(b *testing.B) {
	b.ReportAllocs()
	src, inbox := Queue[int](64)
	run, err := flow.New("g", flow.To(src, devNull[int]())).Start(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := inbox.Deliver(b.Context(), 1); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	inbox.Close()
	if err := run.Wait(); err != nil {
		b.Error(err)
	}
}
