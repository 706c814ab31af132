package failsafe_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/failsafe"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("the service is down")

// service is a function that fails until it is healed.
type service struct {
	down  atomic.Bool
	calls atomic.Int64
}

func (s *service) call(_ context.Context, v int) (int, error) {
	s.calls.Add(1)
	if s.down.Load() {
		return 0, errDown
	}
	return v, nil
}

func breaker() circuitbreaker.CircuitBreaker[int] {
	return circuitbreaker.NewBuilder[int]().HandleIf(failsafe.Failed[int]).
		WithFailureThreshold(2).WithDelay(10 * time.Second).Build()
}

func TestBreaker(t *testing.T) {
	t.Run("refused messages come again when it allows calls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s service
			s.down.Store(true)
			src, feed := flowtest.Feed[int](t, flowtest.Redeliver(10))
			out, got := flowtest.Collect[int](t)
			flowtest.Start(t, flow.To(operators.Map(src, failsafe.Wrap(s.call, breaker()),
				flow.OnFault(flow.NackAfter(time.Second))), out))
			feed.Send(1, 2, 3, 4)
			time.Sleep(500 * time.Millisecond)
			if n := s.calls.Load(); n != 2 {
				t.Errorf("%d calls, the breaker opens after 2", n)
			}
			var after time.Duration
			for _, st := range feed.Settlements() {
				if errors.Is(st.Err, circuitbreaker.ErrOpen) {
					after = st.After
				}
			}
			if after != 10*time.Second {
				t.Errorf("a refused message comes again after %v", after)
			}
			s.down.Store(false)
			time.Sleep(time.Minute)
			got.WantUnordered(1, 2, 3, 4)
			feed.Close()
		})
	})
	t.Run("Pause keeps the order and uses no deliveries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s service
			s.down.Store(true)
			src, feed := flowtest.Feed[int](t)
			out, got := flowtest.Collect[int](t)
			flowtest.Start(t, flow.To(operators.Map(src, failsafe.Pause(failsafe.Wrap(s.call, breaker())),
				flow.OnFault(flow.RetryEvery(5, time.Second, nil))), out))
			feed.Send(1, 2, 3, 4)
			time.Sleep(5 * time.Second)
			s.down.Store(false)
			time.Sleep(time.Minute)
			got.Want(1, 2, 3, 4)
			feed.WantSettled(map[flow.Outcome]int{flow.Acked: 4})
			feed.Close()
		})
	})
	t.Run("Pause ends with a stop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker()
			b.Open()
			src, feed := flowtest.Feed[int](t)
			out, _ := flowtest.Collect[int](t)
			paused := failsafe.Pause(failsafe.Wrap(new(service).call, b))
			r := flowtest.Start(t, flow.To(operators.Map(src, paused), out))
			feed.Send(1)
			time.Sleep(time.Second)
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
			feed.WantSettled(map[flow.Outcome]int{flow.Nacked: 1})
		})
	})
	t.Run("verdicts about a message do not open it", func(t *testing.T) {
		b := breaker()
		reject := failsafe.Wrap(func(context.Context, int) (int, error) { return 0, flow.Reject(errDown) }, b)
		for range 10 {
			if _, err := reject(t.Context(), 1); !errors.Is(err, errDown) {
				t.Fatal(err)
			}
		}
		if !b.IsClosed() {
			t.Errorf("the breaker is %v", b.State())
		}
	})
}

func TestHedge(t *testing.T) {
	t.Run("the first result counts, once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var calls, cancelled atomic.Int64
			slow := func(ctx context.Context, v int) (int, error) {
				if calls.Add(1)%2 == 1 { // the first call of each message hangs
					<-ctx.Done()
					cancelled.Add(1)
					return 0, ctx.Err()
				}
				return v, nil
			}
			src, feed := flowtest.Feed[int](t)
			out, got := flowtest.Collect[int](t)
			began := time.Now()
			flowtest.Start(t, flow.To(operators.Map(src,
				failsafe.Wrap(slow, hedgepolicy.NewWithDelay[int](time.Second))), out))
			feed.Send(1, 2, 3)
			got.Want(1, 2, 3)
			if took := time.Since(began); took != 3*time.Second {
				t.Errorf("three messages took %v", took)
			}
			feed.WantSettled(map[flow.Outcome]int{flow.Acked: 3})
			synctest.Wait()
			if n := cancelled.Load(); n != 3 {
				t.Errorf("%d of 3 slow calls were cancelled", n)
			}
			feed.Close()
		})
	})
	t.Run("a stop cancels all calls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hang := func(ctx context.Context, _ int) (int, error) {
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}
			src, feed := flowtest.Feed[int](t)
			out, _ := flowtest.Collect[int](t)
			r := flowtest.Start(t, flow.To(operators.Map(src,
				failsafe.Wrap(hang, hedgepolicy.NewWithDelay[int](time.Second))), out))
			feed.Send(1)
			time.Sleep(time.Minute)
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
			feed.WantSettled(map[flow.Outcome]int{flow.Nacked: 1})
		})
	})
	t.Run("a panic is an error", func(t *testing.T) {
		f := failsafe.Wrap(func(context.Context, int) (int, error) { panic("boom") },
			hedgepolicy.NewWithDelay[int](time.Hour))
		_, err := f(t.Context(), 1)
		var panicked *flow.PanicError
		if !errors.As(err, &panicked) {
			t.Errorf("%v", err)
		}
	})
}

func TestBulkhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		work := func(ctx context.Context, _ int) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		src, feed := flowtest.Feed[int](t, flowtest.Redeliver(1000))
		limited := failsafe.WrapFunc(work, bulkhead.New[any](2))
		flowtest.Start(t, flow.To(src, sink.Func(limited, flow.Workers(5), flow.Unordered())))
		feed.Send(1, 2, 3, 4, 5, 6)
		time.Sleep(time.Minute)
		if n := most.Load(); n != 2 {
			t.Errorf("%d calls at once, the bulkhead has room for 2", n)
		}
		acked := 0
		for _, st := range feed.Settlements() {
			if st.Outcome == flow.Acked {
				acked++
			} else if !errors.Is(st.Err, bulkhead.ErrFull) || st.After != 100*time.Millisecond {
				t.Errorf("%v after %v: %v", st, st.After, st.Err)
			}
		}
		if acked != 6 {
			t.Errorf("%d of 6 messages are acked", acked)
		}
		feed.Close()
	})
}

func TestMistakes(t *testing.T) {
	wrapped, wrappedFunc := failsafe.Wrap[int, int](nil), failsafe.WrapFunc[int](nil)
	if wrapped != nil || wrappedFunc != nil || failsafe.Pause[int, int](nil) != nil {
		t.Error("a nil function is wrapped: Validate cannot report it")
	}
	s := &service{}
	if v, err := failsafe.Wrap(s.call)(t.Context(), 7); v != 7 || err != nil {
		t.Errorf("without policies: %d, %v", v, err)
	}
	if _, err := failsafe.Wrap(s.call, nil)(t.Context(), 7); !flow.IsPermanent(err) {
		t.Errorf("with a nil policy: %v", err)
	}
	if failsafe.Failed(0, nil) || failsafe.Failed(0, flow.Skip) || !failsafe.Failed(0, flow.RetryAfter(0, errDown)) {
		t.Error("Failed")
	}
}

// A breaker keeps a service that is down from being called.
func ExampleWrap() {
	breaker := circuitbreaker.NewBuilder[string]().WithFailureThreshold(1).WithDelay(time.Hour).Build()
	look := func(_ context.Context, id int) (string, error) {
		fmt.Println("call for", id)
		return "", errDown
	}
	names := operators.Map(source.Of(1), failsafe.Wrap(look, breaker), flow.OnFault(flow.Drop))
	g := flow.New("names", flow.To(names, sink.Discard[string]()))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println("the breaker is", breaker.State())
	// Output:
	// call for 1
	// the breaker is open
}

func ExampleWrapFunc() {
	limit := bulkhead.NewBuilder[any](4).WithMaxWaitTime(time.Second).Build()
	post := func(_ context.Context, v string) error {
		fmt.Println(v)
		return nil
	}
	g := flow.New("post", flow.To(source.Of("a", "b"), sink.Func(failsafe.WrapFunc(post, limit))))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// a
	// b
}

// The stream waits while the breaker is open.
func ExamplePause() {
	breaker := circuitbreaker.NewBuilder[int]().WithDelay(10 * time.Millisecond).Build()
	breaker.Open()
	double := func(_ context.Context, v int) (int, error) { return 2 * v, nil }
	doubled := operators.Map(source.Of(1, 2), failsafe.Pause(failsafe.Wrap(double, breaker)))
	g := flow.New("doubled", flow.To(doubled, sink.Func(func(_ context.Context, v int) error {
		fmt.Println(v)
		return nil
	})))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 2
	// 4
}

func ExampleFailed() {
	breaker := circuitbreaker.NewBuilder[int]().HandleIf(failsafe.Failed[int]).WithFailureThreshold(1).Build()
	check := failsafe.Wrap(func(context.Context, int) (int, error) { return 0, flow.Skip }, breaker)
	_, err := check(context.Background(), 1)
	fmt.Println(err, breaker.State())
	// Output: skip closed
}
