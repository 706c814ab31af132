package source_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Redis was unreachable for two seconds when a task was done. The retry of its completion used a
// context that had ended, so the task ran again minutes later.
func TestA1_OutageAtCompletionDoesNotRunItTwice(t *testing.T) {
	t.Parallel()
	s := newPrivateStand(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	s.fill(t, 3)
	cfg := config[string](s)
	cfg.Lease = time.Second // so that a lost ack would show
	var ran atomic.Int64
	begun, goOn := make(chan struct{}, 3), make(chan struct{})
	l := newLine(s)
	r := start(t, flow.To(source.Stream(l.client(t), cfg), sink.Func(func(ctx context.Context, _ string) error {
		ran.Add(1)
		begun <- struct{}{}
		return until(ctx, goOn)
	}, flow.Workers(3), flow.Unordered())))
	for range 3 {
		<-begun
	}
	s.Kill(t)
	close(goOn)
	dials := l.dials.Load()
	redistest.Soon(t, "acks that fail", func() bool { return l.dials.Load() > dials+1 })
	s.Restart(t)
	redistest.Soon(t, "all acknowledged", func() bool {
		pending, lag := s.peek()
		return pending+lag == 0 && s.rdb.XLen(t.Context(), s.key).Val() == 3
	})
	since := time.Now()
	redistest.Soon(t, "a lease passes", func() bool { return time.Since(since) > cfg.Lease })
	drain(t, r)
	s.wantSettled(t)
	if ran.Load() != 3 {
		t.Errorf("3 entries ran %d times", ran.Load())
	}
}

// A task that was active without a lease stayed so forever, because its state was spread over
// several keys that can be evicted. Here the pending list is the only state.
func TestA2_ThereIsNothingBesideThePendingList(t *testing.T) {
	s := newPrivateStand(t)
	s.fill(t, 2)
	cfg := config[string](s)
	cfg.Lease = 300 * time.Millisecond
	begun, goOn := make(chan struct{}, 2), make(chan struct{})
	var ran atomic.Int64
	r := start(t, flow.To(source.Stream(s.rdb, cfg), sink.Func(func(ctx context.Context, _ string) error {
		ran.Add(1)
		begun <- struct{}{}
		return until(ctx, goOn)
	})))
	<-begun
	redistest.Soon(t, "leases were renewed", func() bool { return s.calls(t, "eval") >= 2 })
	if keys := s.rdb.Keys(t.Context(), "*").Val(); len(keys) != 1 {
		t.Errorf("keys %v, want the stream alone", keys)
	}
	close(goOn)
	redistest.Soon(t, "both", func() bool { return ran.Load() == 2 && pendingAndLag(t, s) == 0 })
	// Pending for a consumer that never ran here and has no other trace.
	id := s.rdb.XAdd(t.Context(), redistest.Entry(s.key+":2", "data", "x")).Val()
	s.rdb.XGroupCreate(t.Context(), s.key+":2", "g", "$")
	s.rdb.Do(t.Context(), "xclaim", s.key+":2", "g", "ghost", 0, id, "force", "justid")
	cfg.Key = s.key + ":2"
	var in inbox[string]
	other := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "the orphan", func() bool { return in.count() == 1 })
	drain(t, other)
	drain(t, r)
}

// With an eviction policy, a full server deletes whole streams with their groups. That cannot be
// undone. It must be reported, and the graph must read later entries.
func TestA3_EvictedStreamIsReported(t *testing.T) {
	s := newPrivateStand(t, redistest.Args("--maxmemory-policy", "allkeys-lru"))
	ctx := t.Context()
	s.fill(t, 1)
	var in inbox[string]
	var log lockedBuffer
	r := start(
		t,
		flow.To(source.Stream(s.rdb, config[string](s)), in.sink()),
		flow.Log(slog.New(zerolog.NewSlogHandler(zerolog.New(&log)))),
	)
	redistest.Soon(t, "the first", func() bool { return in.count() == 1 && pendingAndLag(t, s) == 0 })
	s.rdb.ConfigSet(ctx, "maxmemory", "1")
	redistest.Soon(t, "the stream is evicted", func() bool {
		s.rdb.Set(ctx, "more", "x", 0) // a command that makes the server evict
		return strings.Contains(s.rdb.Info(ctx, "stats").Val(), "evicted_keys:") &&
			!strings.Contains(s.rdb.Info(ctx, "stats").Val(), "evicted_keys:0\r")
	})
	s.rdb.ConfigSet(ctx, "maxmemory", "0")
	redistest.Soon(t, "what came afterwards", func() bool {
		if in.count() < 2 {
			s.rdb.XAdd(ctx, redistest.Entry(s.key, "data", "after"))
		}
		return in.count() >= 2
	})
	drain(t, r)
	if !strings.Contains(log.String(), "stream: group recreated") {
		t.Errorf("log:\n%s", log.String())
	}
}

// A task was retried after its context had ended, regardless of its handler's result.
func TestA4_TheHandlersAnswerCounts(t *testing.T) {
	s := newStand(t)
	s.fill(t, 1)
	begun := make(chan struct{})
	r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), sink.Func(func(ctx context.Context, _ string) error {
		close(begun)
		<-ctx.Done() // cancelled …
		return nil   // … and finished anyway
	})))
	<-begun
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	s.wantSettled(t)
}

// Workers polled for tasks instead of blocking at the server.
func TestA5_ReadsBlockAtTheServer(t *testing.T) {
	t.Parallel()
	s := newPrivateStand(t)
	const block = 300 * time.Millisecond
	cfg := config[string](s)
	cfg.Block = block
	r := start(t, flow.To(source.Stream(s.rdb, cfg), (&inbox[string]{}).sink()))
	redistest.Soon(t, "it reads", func() bool { return s.calls(t, "xreadgroup") >= 1 })
	since, before := time.Now(), s.calls(t, "xreadgroup")
	redistest.Soon(t, "three blocks", func() bool { return time.Since(since) > 3*block })
	n, d := s.calls(t, "xreadgroup")-before, time.Since(since)
	cutShort := int(d/time.Second) + 1 // it looks for entries that others gave back
	if n > int(d/block)+1+cutShort+signsOfLife(since) {
		t.Errorf("%d reads of an empty stream in %v, each blocks for %v", n, d, block)
	}
	drain(t, r)
}
