package flow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

// watched remembers the watches of messages by value.
type watched struct {
	mu   sync.Mutex
	of   map[string]flow.Watched
	made []string // progress of each at its end
}

func (w *watched) source(q *queue[string], opts ...flow.StageOption) flow.Source[string] {
	w.of = make(map[string]flow.Watched)
	by := flow.NewWatcher(func(_ context.Context, ends []flow.End) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range ends {
			p := w.of[e.Tag.(string)].Progress()
			said := fmt.Sprint(e.Tag, " ", e.Outcome, " ", p.Settled, "/", p.Leaves)
			if e.Fault != nil {
				said += " " + e.Fault.Err.Error()
			}
			w.made = append(w.made, said)
		}
		return nil
	})
	return flow.Step(q.source(), "watch", func() flow.StepFunc[string, string] {
		return func(ctx context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			m, one := flow.Watch(ctx, m, by, m.Value)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.of[m.Value] = one
			return m, true, nil
		}
	}, opts...)
}

func (w *watched) get(v string) flow.Watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of[v]
}

func (w *watched) wantEnds(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(want, w.made); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
}

// times emits each message n times.
func times(in flow.Source[string], n int, opts ...flow.StageOption) flow.Source[string] {
	return flow.Via(in, "times", func() flow.Handler[string, string] {
		return flow.HandlerFunc[string, string](
			func(_ context.Context, m flow.Message[string], emit flow.Emit[string]) error {
				for range n {
					emit(m)
				}
				return nil
			})
	}, opts...)
}

// slowly takes a second for each message.
func slowly(in flow.Source[string], opts ...flow.StageOption) flow.Source[string] {
	return mapTo(in, func(ctx context.Context, v string) (string, error) {
		return v, flow.Sleep(ctx, time.Second)
	}, append([]flow.StageOption{flow.Name("work")}, opts...)...)
}

func start(t *testing.T, parts ...flow.Part) *flow.Running {
	t.Helper()
	run, err := flow.New("g", parts...).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func wait(t *testing.T, run *flow.Running) {
	t.Helper()
	if err := run.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestWatchProgress(t *testing.T) {
	story := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	story("leaves and stages", func(t *testing.T) {
		w := &watched{}
		run := start(t, flow.To(slowly(times(w.source(queueOf("a")), 3)), discard[string]()))
		time.Sleep(1500 * time.Millisecond)
		got := w.get("a").Progress()
		if diff := cmp.Diff(flow.Progress{Leaves: 3, Settled: 1, Stages: []string{"work"}}, got); diff != "" {
			t.Errorf("after one of three (-want +got):\n%s", diff)
		}
		wait(t, run)
		w.wantEnds(t, "a acked 3/3")
	})
	story("more leaves than a chunk", func(t *testing.T) {
		for _, n := range []int{0, 1, 256, 600} {
			w := &watched{}
			wait(t, start(t, flow.To(times(w.source(queueOf("a")), n), discard[string]())))
			if last := w.get("a").Progress(); last.Leaves != max(n, 1) || last.Settled != last.Leaves {
				t.Errorf("%d leaves: %+v", n, last)
			}
		}
	})
	story("with workers and branches", func(t *testing.T) {
		w := &watched{}
		outs := flow.Route(times(w.source(queueOf("a", "b")), 5), "both", 2, func() flow.RouteFunc[string, string] {
			return func(_ context.Context, m flow.Message[string], emit func(int, flow.Message[string])) error {
				emit(0, m)
				emit(1, m)
				return nil
			}
		})
		wait(t, start(t, flow.To(slowly(outs[0], flow.Workers(3), flow.Unordered()), discard[string]()),
			flow.To(outs[1], each("end", func(string) {}))))
		for _, v := range []string{"a", "b"} {
			if last := w.get(v).Progress(); last.Leaves != 10 || last.Settled != 10 || last.Stages != nil {
				t.Errorf("%s: %+v", v, last)
			}
		}
	})
	story("a retry", func(t *testing.T) {
		w := &watched{}
		var works atomic.Bool
		work := mapTo(w.source(queueOf("a")), func(context.Context, string) (string, error) {
			if !works.Load() {
				return "", errors.New("not yet")
			}
			return "", nil
		}, flow.Name("work"), flow.OnFault(flow.RetryEvery(3, time.Second, nil)))
		run := start(t, flow.To(work, discard[string]()))
		synctest.Wait()
		p := w.get("a").Progress()
		if p.Fault == nil || p.Fault.Stage != "work" || p.Fault.Tries != 1 || time.Until(p.Retry) != time.Second ||
			len(p.Stages) != 1 {
			t.Errorf("while it waits: %+v", p)
		}
		works.Store(true)
		wait(t, run)
		w.wantEnds(t, "a acked 1/1")
	})
}

var errChanged = errors.New("changed my mind")

func TestWatchCancel(t *testing.T) {
	story := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	story("a handler and what waits behind it", func(t *testing.T) {
		q, w := queueOf("a", "b"), &watched{}
		var causes []error
		work := mapTo(times(w.source(q), 3), func(ctx context.Context, v string) (string, error) {
			err := flow.Sleep(ctx, time.Second)
			if err != nil {
				causes = append(causes, context.Cause(ctx))
			}
			return v, err
		})
		run := start(t, flow.To(work, discard[string]()))
		time.Sleep(1500 * time.Millisecond)
		w.get("a").Cancel(errChanged)
		w.get("a").Cancel(errors.New("again"))
		began := time.Now()
		wait(t, run)
		w.get("a").Cancel(errChanged) // after the end
		w.wantEnds(t, "a dropped 3/3 changed my mind", "b acked 3/3")
		if len(causes) != 1 || causes[0] != errChanged {
			t.Errorf("causes: %v", causes)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v, want 3s for b", took)
		}
		if diff := cmp.Diff([]string{"b"}, q.acked); diff != "" {
			t.Errorf("acked (-want +got):\n%s", diff)
		}
	})
	story("a write", func(t *testing.T) {
		w := &watched{}
		slow := flow.NewSink("slow", func() flow.Writer[string] {
			return flow.WriterFunc[string](func(ctx context.Context, _ []flow.Message[string]) error {
				<-ctx.Done()
				return context.Cause(ctx)
			})
		})
		run := start(t, flow.To(w.source(queueOf("a")), slow))
		synctest.Wait()
		if p := w.get("a").Progress(); len(p.Stages) != 1 || p.Stages[0] != "slow" {
			t.Errorf("while it is written: %+v", p)
		}
		w.get("a").Cancel(errChanged)
		wait(t, run)
		w.wantEnds(t, "a dropped 1/1 changed my mind")
	})
	story("a handler that succeeds nevertheless", func(t *testing.T) {
		w := &watched{}
		deaf := mapTo(w.source(queueOf("a")), func(ctx context.Context, v string) (string, error) {
			<-ctx.Done()
			return v, nil
		})
		run := start(t, flow.To(deaf, discard[string]()))
		synctest.Wait()
		w.get("a").Cancel(errChanged)
		wait(t, run)
		w.wantEnds(t, "a acked 1/1")
	})
	story("one of a join", func(t *testing.T) {
		w := &watched{}
		pairs := pairsOf(w.source(queueOf("a", "b")))
		work := mapTo(pairs, func(ctx context.Context, v string) (string, error) {
			return v, flow.Sleep(ctx, time.Second)
		})
		run := start(t, flow.To(work, discard[string]()))
		synctest.Wait()
		if p := w.get("b").Progress(); len(p.Stages) != 1 || p.Settled != 0 {
			t.Errorf("a member: %+v", p)
		}
		w.get("a").Cancel(errChanged)
		wait(t, run)
		w.wantEnds(t, "a acked 1/1", "b acked 1/1")
	})
	story("outside a graph", func(t *testing.T) {
		var none flow.Watched
		none.Cancel(errChanged)
		if p := none.Progress(); p.Leaves != 0 {
			t.Errorf("%+v", p)
		}
	})
}

// pairsOf joins two messages.
func pairsOf(in flow.Source[string]) flow.Source[string] {
	return flow.Via(in, "pairs", func() flow.Handler[string, string] {
		var held []flow.Held[string]
		return flow.HandlerFunc[string, string](
			func(ctx context.Context, m flow.Message[string], emit flow.Emit[string]) error {
				if held = append(held, flow.Hold(ctx, m)); len(held) == 2 {
					emit(flow.Join(ctx, "pair", held))
					held = nil
				}
				return nil
			})
	}, flow.Traits{Holds: 2})
}

// The work on an order is cancelled while it is half done.
func ExampleWatched_Progress() {
	done := flow.NewWatcher(func(_ context.Context, ends []flow.End) error {
		for _, e := range ends {
			fmt.Println(e.Tag, e.Outcome, e.Fault.Err)
		}
		return nil
	})
	var order flow.Watched
	noted := flow.Step(queueOf("order").source(), "note", func() flow.StepFunc[string, string] {
		return func(ctx context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			m, order = flow.Watch(ctx, m, done, m.Value)
			return m, true, nil
		}
	})
	packed := 0
	pack := mapTo(times(noted, 3), func(_ context.Context, v string) (string, error) {
		if packed++; packed == 2 {
			p := order.Progress()
			fmt.Println("packed", p.Settled, "of", p.Leaves, "in", p.Stages)
			order.Cancel(errors.New("the customer has gone"))
			return "", errors.New("interrupted")
		}
		return v, nil
	}, flow.Name("pack"))
	err := flow.New("shop", flow.To(pack, discard[string]())).Run(context.Background())
	fmt.Println(packed, "error:", err)
	// Output:
	// packed 0 of 3 in [pack]
	// order dropped the customer has gone
	// 2 error: <nil>
}
