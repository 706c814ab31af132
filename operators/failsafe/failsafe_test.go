package failsafe_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
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
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Main gives goroutines that end late more time than goleak.VerifyTestMain does.
func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

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

func breaker() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureThreshold(2).WithDelay(10 * time.Second).Build()
}

// lines counts the lines of a log.
type lines struct {
	slog.Handler
	mu   sync.Mutex
	text []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, r.Message)
	return nil
}

func (l *lines) count(message string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.text {
		if one == message {
			n++
		}
	}
	return n
}

func TestBreaker(t *testing.T) {
	t.Run("an outage uses up no retries and no deliveries, and keeps the order", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s service
			var log lines
			s.down.Store(true)
			src, feed := flowtest.Feed[int](t)
			out, got := flowtest.Collect[int](t)
			r := flowtest.Start(t, flow.Log(slog.New(&log)), flow.To(operators.Map(src, s.call, flow.Name("price"),
				failsafe.With(breaker()), flow.OnFault(flow.RetryEvery(2, time.Second, flow.DeadLetter))), out))
			feed.Send(1, 2, 3, 4)
			time.Sleep(9 * time.Minute)
			if n := s.calls.Load(); n < 40 || n > 120 {
				t.Errorf("%d calls in 9 minutes, want one or two in 10s", n)
			}
			for _, st := range r.Snapshot(t.Context()).Stages {
				if st.Name == "price" && st.Retrying < 8*time.Minute {
					t.Errorf("the snapshot tells of %v of waiting", st.Retrying)
				}
			}
			s.down.Store(false)
			time.Sleep(time.Minute)
			got.Want(1, 2, 3, 4)
			feed.WantSettled(map[flow.Outcome]int{flow.Acked: 4})
			waits, goes := log.count("stage waits for its circuit breaker"),
				log.count("stage continues after its circuit breaker")
			if waits != 1 || goes != 1 {
				t.Errorf("%d lines tell of the wait, and %d of its end", waits, goes)
			}
			feed.Close()
		})
	})
	t.Run("the wait has a limit, then the fault policy decides", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s service
			s.down.Store(true)
			src, feed := flowtest.Feed[int](t)
			out, got := flowtest.Collect[int](t)
			flowtest.Start(t, flow.To(operators.Map(src, s.call,
				failsafe.WithPatience(time.Minute, breaker()), flow.OnFault(flow.DeadLetter)), out))
			feed.Send(1, 2)
			time.Sleep(59 * time.Second)
			feed.WantSettled(map[flow.Outcome]int{flow.Dead: 1}) // it failed before the breaker was open
			time.Sleep(time.Minute)
			feed.WantSettled(map[flow.Outcome]int{flow.Dead: 2})
			got.Want()
			feed.Close()
		})
	})
	t.Run("a drain gives waiting messages back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker()
			b.Open()
			src, feed := flowtest.Feed[int](t)
			r := flowtest.Start(
				t,
				flow.To(src, sink.Func(func(context.Context, int) error { return nil }, failsafe.With(b))),
			)
			feed.Send(1)
			time.Sleep(time.Second)
			began := time.Now()
			if _, err := r.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("the drain took %v", took)
			}
			for _, st := range feed.Settlements() {
				if st.Outcome != flow.Nacked || st.After != 9*time.Second ||
					!errors.Is(st.Err, circuitbreaker.ErrOpen) {
					t.Errorf("%v after %v: %v", st.Outcome, st.After, st.Err)
				}
			}
			feed.WantSettled(map[flow.Outcome]int{flow.Nacked: 1})
		})
	})
	t.Run("a stop ends the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker()
			b.Open()
			src, feed := flowtest.Feed[int](t)
			out, _ := flowtest.Collect[int](t)
			r := flowtest.Start(t, flow.To(operators.Map(src, new(service).call, failsafe.With(b)), out))
			feed.Send(1)
			time.Sleep(time.Second)
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
			feed.WantSettled(map[flow.Outcome]int{flow.Nacked: 1})
		})
	})
	t.Run("stages share it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s service
			s.down.Store(true)
			b := breaker()
			one, feedOne := flowtest.Feed[int](t)
			two, feedTwo := flowtest.Feed[string](t)
			out, got := flowtest.Collect[int](t)
			var posts atomic.Int64
			post := func(context.Context, string) error { posts.Add(1); return nil }
			flowtest.Start(t, flow.To(operators.Map(one, s.call, failsafe.With(b)), out),
				flow.To(two, sink.Func(post, failsafe.With(b))))
			feedOne.Send(1)
			time.Sleep(time.Second)
			feedTwo.Send("a")
			time.Sleep(time.Second)
			if posts.Load() != 0 {
				t.Error("a call in spite of an open breaker")
			}
			s.down.Store(false)
			time.Sleep(time.Minute)
			got.Want(1)
			feedTwo.WantSettled(map[flow.Outcome]int{flow.Acked: 1})
			feedOne.Close()
			feedTwo.Close()
		})
	})
	t.Run("verdicts about a message do not open it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker()
			src, feed := flowtest.Feed[int](t)
			verdicts := []error{flow.Skip, flow.Reject(errDown)}
			flowtest.Start(t, flow.To(src, sink.Func(func(_ context.Context, v int) error { return verdicts[v%2] },
				failsafe.With(b))))
			feed.Send(0, 1, 2, 3, 4, 5)
			synctest.Wait()
			feed.WantSettled(map[flow.Outcome]int{flow.Dropped: 3, flow.Dead: 3})
			if !b.IsClosed() {
				t.Errorf("the breaker is %v", b.State())
			}
			feed.Close()
		})
	})
	t.Run("workers with keys wait together", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s service
			s.down.Store(true)
			src, feed := flowtest.Feed[int](t)
			out, got := flowtest.Collect[int](t)
			flowtest.Start(t, flow.To(operators.Map(src, s.call, failsafe.With(breaker()), flow.Workers(4),
				flow.KeyedBy(func(v int) int { return v % 3 })), out))
			feed.Send(1, 2, 3, 4, 5, 6)
			time.Sleep(time.Minute)
			s.down.Store(false)
			time.Sleep(time.Minute)
			got.WantUnordered(1, 2, 3, 4, 5, 6)
			feed.WantSettled(map[flow.Outcome]int{flow.Acked: 6})
			feed.Close()
		})
	})
}

func TestHedge(t *testing.T) {
	hedge := func() flow.StageOption { return failsafe.Hedge(hedgepolicy.NewWithDelay[any](time.Second)) }
	// half hangs in the first call for each value.
	half := func(calls *sync.Map, cancelled *atomic.Int64) func(context.Context, int) error {
		return func(ctx context.Context, v int) error {
			if _, again := calls.LoadOrStore(v, true); !again {
				<-ctx.Done()
				cancelled.Add(1)
				return ctx.Err()
			}
			return nil
		}
	}
	type slow = func(context.Context, int) error
	for name, branch := range map[string]func(flow.Source[int], flow.Sink[int], slow) flow.Branch{
		"Map": func(src flow.Source[int], out flow.Sink[int], f func(context.Context, int) error) flow.Branch {
			return flow.To(operators.Map(src, func(ctx context.Context, v int) (int, error) {
				return v, f(ctx, v)
			}, hedge()), out)
		},
		"FilterMap": func(src flow.Source[int], out flow.Sink[int], f func(context.Context, int) error) flow.Branch {
			return flow.To(operators.FilterMap(src, func(ctx context.Context, v int) (int, bool, error) {
				return v, true, f(ctx, v)
			}, hedge(), flow.Workers(2)), out)
		},
		"FlatMap, and what a loser emits is dropped": func(
			src flow.Source[int], out flow.Sink[int], f func(context.Context, int) error,
		) flow.Branch {
			return flow.To(operators.FlatMap(src, func(ctx context.Context, v int, emit func(int)) error {
				emit(v)
				return f(ctx, v)
			}, hedge()), out)
		},
		"sink.Func": func(src flow.Source[int], out flow.Sink[int], f func(context.Context, int) error) flow.Branch {
			return flow.To(src, sink.Func(f, hedge()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls sync.Map
				var cancelled atomic.Int64
				src, feed := flowtest.Feed[int](t)
				out, got := flowtest.Collect[int](t)
				flowtest.Start(t, branch(src, out, half(&calls, &cancelled)))
				feed.Send(1, 2, 3)
				time.Sleep(time.Minute)
				if name != "sink.Func" {
					got.Want(1, 2, 3)
				}
				feed.WantSettled(map[flow.Outcome]int{flow.Acked: 3})
				if n := cancelled.Load(); n != 3 {
					t.Errorf("%d of 3 slow calls were cancelled", n)
				}
				feed.Close()
			})
		})
	}
	t.Run("a stop cancels all calls and waits for them", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var running atomic.Int64
			hang := func(ctx context.Context, _ int) (int, error) {
				running.Add(1)
				defer running.Add(-1)
				<-ctx.Done()
				time.Sleep(time.Second) // it takes a while
				return 0, context.Cause(ctx)
			}
			src, feed := flowtest.Feed[int](t)
			out, _ := flowtest.Collect[int](t)
			r := flowtest.Start(t, flow.To(operators.Map(src, hang, hedge()), out))
			feed.Send(1)
			time.Sleep(time.Minute)
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
			if n := running.Load(); n != 0 {
				t.Errorf("%d calls run on after the graph", n)
			}
			feed.WantSettled(map[flow.Outcome]int{flow.Nacked: 1})
		})
	})
	t.Run("with a breaker inside", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s service
			s.down.Store(true)
			src, feed := flowtest.Feed[int](t)
			out, got := flowtest.Collect[int](t)
			flowtest.Start(t, flow.To(operators.Map(src, s.call, failsafe.With(breaker()), hedge()), out))
			feed.Send(1, 2)
			time.Sleep(time.Minute)
			s.down.Store(false)
			time.Sleep(time.Minute)
			got.Want(1, 2)
			feed.WantSettled(map[flow.Outcome]int{flow.Acked: 2})
			feed.Close()
		})
	})
	t.Run("with a breaker in each call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s service
			s.down.Store(true)
			src, feed := flowtest.Feed[int](t)
			out, got := flowtest.Collect[int](t)
			flowtest.Start(t, flow.To(operators.Map(src, s.call, hedge(), failsafe.With(breaker())), out))
			feed.Send(1, 2)
			time.Sleep(time.Minute)
			s.down.Store(false)
			time.Sleep(time.Minute)
			got.Want(1, 2)
			feed.WantSettled(map[flow.Outcome]int{flow.Acked: 2})
			feed.Close()
		})
	})
	t.Run("a panic is a fault", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t)
			flowtest.Start(t, flow.To(src, sink.Func(func(context.Context, int) error { panic("boom") },
				hedge(), flow.OnFault(flow.DeadLetter))))
			feed.Send(1)
			synctest.Wait()
			var panicked *flow.PanicError
			for _, st := range feed.Settlements() {
				if st.Outcome != flow.Dead || !errors.As(st.Err, &panicked) {
					t.Errorf("%v: %v", st.Outcome, st.Err)
				}
			}
			feed.Close()
		})
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
			return flow.Sleep(ctx, time.Second)
		}
		one, feedOne := flowtest.Feed[int](t)
		two, feedTwo := flowtest.Feed[int](t)
		b, other := bulkhead.New[any](2), bulkhead.New[any](3)
		breaker := circuitbreaker.NewBuilder[any]().WithFailureThreshold(1).Build()
		began := time.Now()
		flowtest.Start(t,
			flow.To(one, sink.Func(work, flow.Workers(5), flow.Unordered(), failsafe.With(breaker, b, other))),
			flow.To(two, sink.Func(work, flow.Workers(5), flow.Unordered(), failsafe.With(other, b))))
		feedOne.Send(1, 2, 3, 4, 5, 6)
		feedTwo.Send(1, 2, 3, 4, 5, 6)
		feedOne.Close()
		feedTwo.Close()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := most.Load(); n != 2 {
			t.Errorf("%d calls at once in both stages, the bulkhead has room for 2", n)
		}
		feedOne.WantSettled(map[flow.Outcome]int{flow.Acked: 6})
		feedTwo.WantSettled(map[flow.Outcome]int{flow.Acked: 6})
		if !breaker.IsClosed() {
			t.Errorf("a full bulkhead has opened the breaker after %v", time.Since(began))
		}
	})
}

// TestMapBatch checks that also the retries of single values of a batch are under the policies.
func TestMapBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, calls atomic.Int64
		query := func(ctx context.Context, vs []int) ([]int, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			if calls.Add(1) == 1 {
				return vs, &flow.WriteError{Errs: []error{nil, errDown}}
			}
			return vs, nil
		}
		src, feed := flowtest.Feed[int](t)
		out, got := flowtest.Collect[int](t)
		limit := bulkhead.New[any](1)
		flowtest.Start(t, flow.To(operators.MapBatch(
			operators.Batch(src, 2, time.Hour),
			query,
			failsafe.With(limit),
			failsafe.Hedge(
				hedgepolicy.NewWithDelay[any](time.Second),
			),
			flow.OnFault(flow.RetryEvery(3, time.Second, nil)),
		), out))
		feed.Send(1, 2)
		time.Sleep(500 * time.Millisecond)
		if !limit.TryAcquirePermit() {
			t.Fatal("no permit is left")
		}
		time.Sleep(time.Minute)
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls while the bulkhead is full, want 1", n)
		}
		limit.ReleasePermit()
		time.Sleep(time.Minute)
		got.Want(1, 2)
		feed.WantSettled(map[flow.Outcome]int{flow.Acked: 2})
		feed.Close()
	})
}

func TestMistakes(t *testing.T) {
	ok := func(_ context.Context, v int) (int, error) { return v, nil }
	sum := func(_ context.Context, sum, v int) (int, error) { return sum + v, nil }
	end := sink.Discard[int]()
	hedge := failsafe.Hedge(hedgepolicy.NewWithDelay[any](time.Second))
	with := failsafe.With(breaker())
	for name, branch := range map[string]flow.Branch{
		"policy 1 is nil": flow.To(operators.Map(source.Of(1), ok,
			failsafe.With[any](nil)), end),
		"Hedge: policy 1 is nil": flow.To(operators.Map(source.Of(1), ok, failsafe.Hedge[any](nil)), end),
		"give a positive duration": flow.To(
			operators.Map(source.Of(1), ok, failsafe.WithPatience(0, breaker())), end),
		"cannot run twice at once": flow.To(operators.Scan(source.Of(1), 0, sum, hedge), end),
		"has no calls that a policy": flow.To(
			operators.Unbatch(operators.Batch(source.Of(1), 2, time.Second, with)), end),
		"calls that a policy can wrap": flow.To(flow.Merge("all", []flow.Source[int]{source.Of(1)}, with), end),
	} {
		if err := flow.New("g", branch).Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q: %v", name, err)
		}
	}
	none := failsafe.With[any]()
	if err := flow.New("g", flow.To(operators.Map(source.Of(1), ok, none), end)).Validate(); err != nil {
		t.Error(err)
	}
}

// A breaker keeps a service that is down from being called. The stream waits meanwhile.
func ExampleWith() {
	breaker := circuitbreaker.NewBuilder[any]().WithFailureThreshold(1).WithDelay(10 * time.Millisecond).Build()
	calls := 0
	look := func(_ context.Context, id int) (string, error) {
		if calls++; calls < 3 {
			return "", errDown
		}
		return fmt.Sprint("name of ", id), nil
	}
	names := operators.Map(source.Of(1, 2), look, failsafe.With(breaker), flow.OnFault(flow.Stop))
	g := flow.New("names", flow.Log(slog.New(slog.DiscardHandler)),
		flow.To(names, sink.Func(func(_ context.Context, name string) error {
			fmt.Println(name)
			return nil
		})))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println("the breaker is", breaker.State())
	// Output:
	// name of 1
	// name of 2
	// the breaker is closed
}

// Two sinks share a bulkhead, so that the service gets at most four calls at once.
func ExampleWith_bulkhead() {
	limit := bulkhead.New[any](4)
	post := func(_ context.Context, v string) error {
		fmt.Println(v)
		return nil
	}
	put := func(context.Context, string) error { return nil }
	g := flow.New("post",
		flow.To(source.Of("a", "b"), sink.Func(post, failsafe.With(limit))),
		flow.To(source.Of("c"), sink.Func(put, failsafe.With(limit))))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// a
	// b
}

func ExampleWithPatience() {
	breaker := circuitbreaker.NewBuilder[any]().WithDelay(time.Hour).Build()
	breaker.Open()
	post := func(context.Context, string) error { return nil }
	to := sink.Func(post, failsafe.WithPatience(time.Millisecond, breaker), flow.OnFault(flow.Stop))
	err := flow.New("post", flow.Log(slog.New(slog.DiscardHandler)), flow.To(source.Of("a"), to)).
		Run(context.Background())
	fmt.Println(errors.Is(err, circuitbreaker.ErrOpen))
	// Output: true
}

// A second call is made when the first takes too long.
func ExampleHedge() {
	var calls atomic.Int64
	look := func(ctx context.Context, id int) (string, error) {
		if calls.Add(1) == 1 { // hangs
			<-ctx.Done()
			return "", ctx.Err()
		}
		return fmt.Sprint("name of ", id), nil
	}
	names := operators.Map(source.Of(1), look, failsafe.Hedge(hedgepolicy.NewWithDelay[any](time.Millisecond)))
	g := flow.New("names", flow.To(names, sink.Func(func(_ context.Context, name string) error {
		fmt.Println(name)
		return nil
	})))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: name of 1
}
