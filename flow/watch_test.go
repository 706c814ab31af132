package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

// notes is a watcher that records the ends it receives.
type notes struct {
	fail func(context.Context) error // may be nil

	mu  sync.Mutex
	all []string
}

func (n *notes) watcher() *flow.Watcher {
	return flow.NewWatcher(func(ctx context.Context, ends []flow.End) error {
		if n.fail != nil {
			if err := n.fail(ctx); err != nil {
				return err
			}
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, e := range ends {
			n.all = append(n.all, fmt.Sprint(e.Tag, " ", e.Outcome))
		}
		return nil
	})
}

func (n *notes) want(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.all)
	slices.Sort(want)
	if diff := cmp.Diff(want, n.all); diff != "" {
		t.Errorf("what the watcher was told (-want +got):\n%s", diff)
	}
}

// watching tags each message with its value.
func watching[T any](in flow.Source[T], w *flow.Watcher, opts ...flow.StageOption) flow.Source[T] {
	return flow.Step(in, "watch", func() flow.StepFunc[T, T] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			m, _ = flow.Watch(ctx, m, w, m.Value)
			return m, true, nil
		}
	}, opts...)
}

func TestWatch(t *testing.T) {
	story := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	story("each outcome", func(t *testing.T) {
		q, n := queueOf("ok", "skip", "bad", "again"), &notes{}
		q.deliveries = 2
		did := mapTo(watching(q.source(), n.watcher()), func(_ context.Context, v string) (string, error) {
			switch v {
			case "skip":
				return "", flow.Skip
			case "bad":
				return "", flow.Reject(errors.New("bad"))
			case "again":
				return "", flow.RetryAfter(time.Second, errors.New("later"))
			}
			return v, nil
		})
		if err := flow.New("g", flow.To(did, discard[string]())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.want(t, "ok acked", "skip dropped", "bad dead", "again nacked", "again nacked")
	})
	story("what ends on another branch does not count", func(t *testing.T) {
		q, n := queueOf("a"), &notes{}
		outs := flow.Route(q.source(), "both", 2, func() flow.RouteFunc[string, string] {
			return func(_ context.Context, m flow.Message[string], emit func(int, flow.Message[string])) error {
				emit(0, m)
				emit(1, m)
				return nil
			}
		})
		q.deliveries = 1
		bad := mapTo(
			outs[1],
			func(context.Context, string) (string, error) { return "", flow.Reject(errors.New("no")) },
		)
		err := flow.New("g", flow.To(watching(outs[0], n.watcher()), discard[string]()),
			flow.To(bad, each("end", func(string) {}))).
			Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n.want(t, "a acked")
		if len(q.dead) != 1 {
			t.Errorf("dead: %v", q.dead)
		}
	})
	story("a failed call is told as nacked", func(t *testing.T) {
		q, n := queueOf("a"), &notes{}
		q.deliveries = 1
		w := n.watcher()
		failing := flow.Step(q.source(), "fail", func() flow.StepFunc[string, string] {
			return func(ctx context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
				m, _ = flow.Watch(ctx, m, w, m.Value)
				return m, true, errors.New("after watching")
			}
		}, flow.OnFault(flow.Nack))
		if err := flow.New("g", flow.To(failing, discard[string]())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.want(t, "a nacked")
	})
	story("a message held at the end of a stop is told before its entry is settled", func(t *testing.T) {
		q, n := queueOf("a", "b"), &notes{}
		q.stays = true
		held := flow.Via(watching(q.source(), n.watcher()), "hold", func() flow.Handler[string, []string] {
			return &batch[string]{size: 3}
		}, flow.Traits{Holds: 3, Joins: true})
		r, err := flow.New("g", flow.To(held, discard[[]string]())).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		n.want(t, "a nacked", "b nacked")
		if q.left() != 2 {
			t.Errorf("%d entries left, want both", q.left())
		}
	})
	story("batches flushed by the drain are told of", func(t *testing.T) {
		q, n := queueOf("a", "b"), &notes{}
		q.stays = true
		held := flow.Via(watching(q.source(), n.watcher()), "hold", func() flow.Handler[string, []string] {
			return &batch[string]{size: 3}
		}, flow.Traits{Holds: 3, Joins: true})
		r, err := flow.New("g", flow.To(held, discard[[]string]())).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		n.want(t, "a acked", "b acked")
		if diff := cmp.Diff([]string{"a", "b"}, q.acked); diff != "" {
			t.Errorf("acked (-want +got):\n%s", diff)
		}
	})
	story("a permanent error of the watcher stops the graph", func(t *testing.T) {
		q := queueOf("a")
		n := &notes{fail: func(context.Context) error { return flow.Permanent(errors.New("no rights")) }}
		err := flow.New("g", flow.To(watching(q.source(), n.watcher()), discard[string]())).Run(t.Context())
		if !flow.IsPermanent(err) {
			t.Errorf("ended with %v", err)
		}
	})
	story("a watcher that panics is asked again", func(t *testing.T) {
		q, tries := queueOf("a"), 0
		n := &notes{fail: func(context.Context) error {
			if tries++; tries == 1 {
				panic("once")
			}
			return nil
		}}
		if err := flow.New("g", flow.To(watching(q.source(), n.watcher()), discard[string]())).Run(
			t.Context()); err != nil {
			t.Fatal(err)
		}
		n.want(t, "a acked")
	})
	story("a watcher that is away holds up the end for the ack timeout", func(t *testing.T) {
		q := queueOf("a")
		q.stays = true
		n := &notes{fail: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		r, err := flow.New("g", flow.To(watching(q.source(), n.watcher()), discard[string]()),
			flow.AckTimeout(3*time.Second)).
			Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("the end took %v", took)
		}
		if q.left() != 1 || len(q.acked) != 0 {
			t.Errorf("%d left, acked %v: want the entry given back", q.left(), q.acked)
		}
	})
	story("a watcher that never returns is left behind", func(t *testing.T) {
		q := queueOf("a")
		q.stays = true
		release := make(chan struct{})
		n := &notes{fail: func(context.Context) error { <-release; return nil }}
		r, err := flow.New("g", flow.To(watching(q.source(), n.watcher()), discard[string]()),
			flow.AckTimeout(time.Second)).
			Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the end took %v", took)
		}
		if q.left() != 1 || len(q.acked) != 0 {
			t.Errorf("%d left, acked %v: want the entry given back", q.left(), q.acked)
		}
		close(release)
	})
	story("many at once, in a graph with workers", func(t *testing.T) {
		values := make([]string, 1000)
		want := make([]string, len(values))
		for i := range values {
			values[i] = fmt.Sprint(i)
			want[i] = values[i] + " acked"
		}
		q, n := queueOf(values...), &notes{}
		did := mapTo(
			watching(q.source(), n.watcher(), flow.Workers(3), flow.Unordered()),
			func(_ context.Context, v string) (string, error) { return v, nil },
			flow.Workers(4),
		)
		if err := flow.New("g", flow.To(did, discard[string]())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.want(t, want...)
		if len(q.acked) != len(values) {
			t.Errorf("%d acked", len(q.acked))
		}
	})
}

func TestFollow(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			q, n := queueOf("x", "x", "x"), &notes{}
			q.deliveries = 1
			w := n.watcher()
			once := flow.Step(q.source(), "once", func() flow.StepFunc[string, string] {
				var first flow.Watched
				return func(ctx context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
					if flow.Follow(m, first) {
						return m, false, nil
					}
					m, first = flow.Watch(ctx, m, w, m.Value)
					return m, true, nil
				}
			})
			did := mapTo(once, func(_ context.Context, v string) (string, error) {
				if fails {
					return "", flow.Reject(errors.New("bad"))
				}
				return v, nil
			}, flow.Async())
			if err := flow.New("g", flow.To(did, discard[string]())).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if total := len(q.acked) + len(q.dead); total != 3 || fails != (len(q.dead) == 3) || len(n.all) == 0 {
				t.Errorf("acked %v, dead %v, told %v", q.acked, q.dead, n.all)
			}
		})
	}
	if m, w := flow.Watch(t.Context(), flow.Message[int]{Value: 1}, flow.NewWatcher(nil), nil); flow.Follow(m, w) {
		t.Error("outside a graph nothing is watched")
	}
}
