package operators_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

func itself(s string) string { return s }

// wrapped is a store that counts calls and can be made to fail.
type wrapped struct {
	operators.DedupeStore
	before func(op string, keys []string) error

	mu   sync.Mutex
	asks []int // number of keys of each Claim
}

func (w *wrapped) Claim(ctx context.Context, keys, tokens []string) ([]time.Duration, error) {
	w.mu.Lock()
	w.asks = append(w.asks, len(keys))
	w.mu.Unlock()
	if w.before != nil {
		if err := w.before("claim", keys); err != nil {
			return nil, err
		}
	}
	return w.DedupeStore.Claim(ctx, keys, tokens)
}

func (w *wrapped) Done(ctx context.Context, keys, tokens []string) error {
	if w.before != nil {
		if err := w.before("done", keys); err != nil {
			return err
		}
	}
	return w.DedupeStore.Done(ctx, keys, tokens)
}

// state claims a key to learn its state: free, done or busy.
func stateOf(t *testing.T, s operators.DedupeStore, key string) string {
	t.Helper()
	busy, err := s.Claim(t.Context(), []string{key}, []string{"\nprobe"})
	switch {
	case err != nil:
		t.Fatal(err)
	case busy[0] < 0:
		return "done"
	case busy[0] > 0:
		return "busy"
	}
	if err := s.Release(t.Context(), []string{key}, []string{"\nprobe"}); err != nil {
		t.Fatal(err)
	}
	return "free"
}

func wantState(t *testing.T, s operators.DedupeStore, want map[string]string) {
	t.Helper()
	for key, w := range want {
		if got := stateOf(t, s, key); got != w {
			t.Errorf("%s is %s, want %s", key, got, w)
		}
	}
}

func TestDedupe(t *testing.T) {
	virtual(t, "duplicates, far and near", func(t *testing.T) {
		in, out, store := newFeed("a", "b", "a", "", "c", "", "b"), &box[string]{}, &operators.DedupeMemory{}
		run(t, flow.To(operators.Dedupe(in.source(), itself, store), out.sink()))
		out.want(t, "a", "b", "", "c", "")
		in.allSettledAs(t, flow.Acked)
		again := newFeed("c", "d", "a")
		run(t, flow.To(operators.Dedupe(again.source(), itself, store), out.sink()))
		out.want(t, "a", "b", "", "c", "", "d")
		again.allSettledAs(t, flow.Acked)
	})
	virtual(t, "one by one", func(t *testing.T) {
		in, out := newFeed("a", "a", "b", "a"), &box[string]{}
		in.every = time.Second
		run(t, flow.To(operators.Dedupe(in.source(), itself, &operators.DedupeMemory{}), out.sink()))
		out.want(t, "a", "b")
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "the store is asked chunk by chunk", func(t *testing.T) {
		in, out := numbers(1000), &box[int]{}
		store := &wrapped{DedupeStore: &operators.DedupeMemory{}}
		run(
			t,
			flow.To(operators.Dedupe(in.source(), func(n int) string { return fmt.Sprint(n / 2) }, store), out.sink()),
		)
		if got := out.values(); len(got) != 500 || !slices.IsSorted(got) {
			t.Errorf("%d values, in order: %v", len(got), slices.IsSorted(got))
		}
		in.allSettledAs(t, flow.Acked)
		if len(store.asks) > 100 {
			t.Errorf("%d questions for 1000 messages", len(store.asks))
		}
	})
	virtual(t, "marked after success and before the ack, free after failure", func(t *testing.T) {
		in := newFeed("ok", "nacked", "dead", "skipped")
		store := &wrapped{DedupeStore: &operators.DedupeMemory{}, before: func(op string, keys []string) error {
			for _, key := range keys {
				if op == "done" && in.isSettled(key) {
					t.Errorf("%s was marked after its entry had been settled", key)
				}
			}
			return nil
		}}
		out := &box[string]{each: func(_ context.Context, v string) error {
			switch v {
			case "nacked":
				return flow.RetryAfter(time.Second, errBoom)
			case "dead":
				return flow.Reject(errBoom)
			case "skipped":
				return flow.Skip
			}
			return nil
		}}
		run(t, flow.To(operators.Dedupe(in.source(), itself, store), out.sink()))
		in.outcomes(t, map[int]flow.Outcome{1: flow.Nacked, 2: flow.Dead, 3: flow.Dropped})
		wantState(t, store, map[string]string{"ok": "done", "nacked": "free", "dead": "free", "skipped": "done"})
	})
	virtual(t, "asynq 629: a failed message's redelivery is not swallowed", func(t *testing.T) {
		store, fails := &operators.DedupeMemory{}, 1
		out := &box[string]{each: func(context.Context, string) error {
			if fails--; fails >= 0 {
				return flow.RetryAfter(0, errBoom)
			}
			return nil
		}}
		for range 3 { // three deliveries of one entry
			in := newFeed("a")
			run(t, flow.To(operators.Dedupe(in.source(), itself, store), out.sink()))
		}
		out.want(t, "a")
	})
	virtual(t, "duplicates beside one that fails fail with it", func(t *testing.T) {
		in, store := newFeed("a", "a", "b", "a"), &operators.DedupeMemory{}
		out := &box[string]{each: func(_ context.Context, v string) error {
			if v == "a" {
				return flow.RetryAfter(time.Second, errBoom)
			}
			return nil
		}}
		run(t, flow.To(operators.Dedupe(in.source(), itself, store), out.sink()))
		in.outcomes(t, map[int]flow.Outcome{0: flow.Nacked, 1: flow.Nacked, 3: flow.Nacked})
		wantState(t, store, map[string]string{"a": "free", "b": "done"})
	})
	virtual(t, "handled elsewhere: delivered again, not dropped", func(t *testing.T) {
		store := &operators.DedupeMemory{}
		if _, err := store.Claim(t.Context(), []string{"a"}, []string{"somebody\n1"}); err != nil {
			t.Fatal(err)
		}
		in, out := newFeed("a", "b"), &box[string]{}
		run(t, flow.To(operators.Dedupe(in.source(), itself, store), out.sink()))
		out.want(t, "b")
		in.outcomes(t, map[int]flow.Outcome{0: flow.Nacked})
		if f := in.settled[0][0].Fault; f == nil || f.After != 100*time.Millisecond {
			t.Errorf("delivered again after %+v", f)
		}
		// The outcome of the other message determines this one's.
		if err := store.Release(t.Context(), []string{"a"}, []string{"somebody\n1"}); err != nil {
			t.Fatal(err)
		}
		run(t, flow.To(operators.Dedupe(newFeed("a").source(), itself, store), out.sink()))
		out.want(t, "b", "a")
	})
	virtual(t, "a source that cannot deliver again waits for the other", func(t *testing.T) {
		store := &operators.DedupeMemory{}
		if _, err := store.Claim(t.Context(), []string{"a"}, []string{"somebody\n1"}); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(
			3*time.Second,
			func() { _ = store.Done(context.Background(), []string{"a"}, []string{"somebody\n1"}) },
		)
		in, out := newFeed("a", "b"), &box[string]{}
		src := flow.NewSource("plain", func() flow.Reader[string] { return &uncommitted{in} })
		run(t, flow.To(operators.Dedupe(src, itself, store), out.sink()))
		out.want(t, "b")
	})
	virtual(t, "what died while it was handled is handled again at once", func(t *testing.T) {
		store := &operators.DedupeMemory{}
		if _, err := store.Claim(t.Context(), []string{"a"}, []string{"0\ndead"}); err != nil { // the same entry
			t.Fatal(err)
		}
		in, out := newFeed("a"), &box[string]{}
		run(t, flow.To(operators.Dedupe(in.source(), itself, store), out.sink()))
		out.want(t, "a")
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a claim that nobody ends frees its key", func(t *testing.T) {
		store := &operators.DedupeMemory{Hold: time.Minute}
		if _, err := store.Claim(t.Context(), []string{"a"}, []string{"other\ndead"}); err != nil {
			t.Fatal(err)
		}
		wantState(t, store, map[string]string{"a": "busy"})
		time.Sleep(time.Minute)
		wantState(t, store, map[string]string{"a": "free"})
	})
	virtual(t, "a store that is away: the fault policy", func(t *testing.T) {
		down := errors.New("away")
		until := time.Now().Add(5 * time.Second)
		store := &wrapped{DedupeStore: &operators.DedupeMemory{}, before: func(op string, _ []string) error {
			if op == "claim" && time.Now().Before(until) {
				return down
			}
			return nil
		}}
		in, out := newFeed("a", "b", "a"), &box[string]{}
		run(
			t,
			flow.To(
				operators.Dedupe(in.source(), itself, store, flow.OnFault(flow.Retry(100, time.Second, flow.Stop))),
				out.sink(),
			),
		)
		out.want(t, "a", "b")
		in.allSettledAs(t, flow.Acked)
		until = time.Now().Add(5 * time.Second)
		in, out = newFeed("c"), &box[string]{}
		run(
			t,
			flow.To(
				operators.Dedupe(in.source(), itself, store, flow.OnFault(flow.NackAfter(time.Minute))),
				out.sink(),
			),
		)
		out.want(t)
		in.outcomes(t, map[int]flow.Outcome{0: flow.Nacked})
	})
	virtual(t, "a mark that fails is made before the ack, later", func(t *testing.T) {
		tries := 0
		in, out := newFeed("a"), &box[string]{}
		store := &wrapped{DedupeStore: &operators.DedupeMemory{}, before: func(op string, _ []string) error {
			if op != "done" {
				return nil
			}
			if in.count() != 0 {
				t.Error("acked before it was marked")
			}
			if tries++; tries < 5 {
				return errBoom
			}
			return nil
		}}
		run(t, flow.To(operators.Dedupe(in.source(), itself, store), out.sink()))
		in.allSettledAs(t, flow.Acked)
		wantState(t, store, map[string]string{"a": "done"})
	})
	virtual(t, "a stop in the middle frees what was not finished", func(t *testing.T) {
		in, store := newFeed("a", "b"), &operators.DedupeMemory{}
		in.stays = true
		out := &box[string]{each: func(ctx context.Context, v string) error {
			if v == "b" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		r := start(
			t,
			flow.To(
				operators.Dedupe(in.source(), itself, store),
				flow.NewSink("one", func() flow.Writer[string] { return out }, flow.ChunkSize(1)),
			),
		)
		synctest.Wait()
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		in.outcomes(t, map[int]flow.Outcome{1: flow.Nacked})
		wantState(t, store, map[string]string{"a": "done", "b": "free"})
	})
	virtual(t, "behind a batch that waits for others", func(t *testing.T) {
		in, out := newFeed("a", "a", "b", "a", "c"), &box[[]string]{}
		run(
			t,
			flow.To(
				operators.Batch(operators.Dedupe(in.source(), itself, &operators.DedupeMemory{}), 3, 0),
				out.sink(),
			),
		)
		out.want(t, []string{"a", "b", "c"})
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a key function that panics costs its own message", func(t *testing.T) {
		in, out := newFeed("a", "panics", "b"), &box[string]{}
		run(t, flow.To(operators.Dedupe(in.source(), func(v string) string {
			if v == "panics" {
				panic(errBoom)
			}
			return v
		}, &operators.DedupeMemory{}), out.sink()), flow.Faults(flow.DeadLetter))
		out.want(t, "a", "b")
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead})
	})
	t.Run("mistakes", func(t *testing.T) {
		invalid(t, []string{"dedupe: key", "dedupe: store", "dedupe: Workers"},
			flow.To(operators.Dedupe(numbers(1).source(), nil, nil, flow.Workers(2)), discard[int]()))
	})
}

// uncommitted is a feed that cannot redeliver.
type uncommitted struct{ feed *feed[string] }

func (u *uncommitted) Read(ctx context.Context, in *flow.Intake[string]) error {
	return u.feed.Read(ctx, in)
}

func TestDedupeMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &operators.DedupeMemory{Window: time.Minute, Most: 3}
		for _, key := range []string{"a", "b", "c", "d", "d"} {
			if err := s.Done(t.Context(), []string{key}, []string{"\n"}); err != nil {
				t.Fatal(err)
			}
		}
		wantState(t, s, map[string]string{"a": "free", "b": "done", "c": "done", "d": "done"})
		time.Sleep(time.Minute)
		wantState(t, s, map[string]string{"b": "free", "c": "free", "d": "free"})
	})
}
