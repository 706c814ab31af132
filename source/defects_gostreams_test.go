package source_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Nothing was ever acknowledged, so the pending list grew forever. Here the lease travels through
// operators to the last sink.
func TestG1_AcksTravelThroughTheGraph(t *testing.T) {
	s := newStand(t)
	s.fill(t, 100)
	goOn := make(chan struct{})
	numbers := operators.Map(
		source.Stream(s.rdb, config[string](s)),
		func(_ context.Context, v string) (string, error) { return v + "!", nil },
	)
	copies := operators.FanOut(numbers, 2)
	var quick, slow inbox[string]
	batches := operators.Batch(copies[1], 10, time.Minute)
	r := start(t, flow.To(copies[0], quick.sink()), flow.To(operators.Unbatch(operators.Map(batches,
		func(ctx context.Context, v []string) ([]string, error) { return v, until(ctx, goOn) })), slow.sink()))
	redistest.Soon(t, "one branch has done some", func() bool { return quick.count() >= 10 })
	if left := pendingAndLag(t, s); left != 100 {
		t.Errorf("%d are acknowledged while the other branch works", 100-left)
	}
	close(goOn)
	redistest.Soon(t, "all are acknowledged", func() bool { pending, lag := s.group(t); return pending+lag == 0 })
	drain(t, r)
	if slow.count() != 100 {
		t.Errorf("%d came through the slow branch", slow.count())
	}
}

// The second start failed with BUSYGROUP.
func TestG2_SecondStartFindsItsGroup(t *testing.T) {
	s := newStand(t)
	var in inbox[string]
	for range 3 {
		r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), in.sink()))
		s.fill(t, 1)
		want := in.count() + 1
		redistest.Soon(t, "one more", func() bool { return in.count() >= want || pendingAndLag(t, s) == 0 })
		drain(t, r)
	}
	s.wantSettled(t)
	if in.count() != 3 {
		t.Errorf("%d came, want 3", in.count())
	}
}

func pendingAndLag(t *testing.T, s *stand) int64 {
	pending, lag := s.group(t)
	return pending + lag
}

// NOGROUP ended the source and its graph as if the stream had ended: Run returned nil. Here the
// group is created again. If the user lacks permission for that, the graph ends with a typed error.
func TestG3_LostGroupIsNoSuccess(t *testing.T) {
	s := newPrivateStand(t)
	ctx := t.Context()
	s.rdb.Do(ctx, "acl", "setuser", "reader", "on", ">pw", "~*", "+@all")
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "reader", Password: "pw"})
	defer rdb.Close()
	s.fill(t, 1)
	var in inbox[string]
	r := start(t, flow.To(source.Stream(rdb, config[string](s)), in.sink()))
	redistest.Soon(t, "the first", func() bool { return pendingAndLag(t, s) == 0 })
	s.rdb.XGroupDestroy(ctx, s.key, "g")
	s.fill(t, 1)
	redistest.Soon(t, "the second", func() bool { return in.count() == 2 && pendingAndLag(t, s) == 0 })

	s.rdb.Do(ctx, "acl", "setuser", "reader", "-xgroup")
	s.rdb.XGroupDestroy(ctx, s.key, "g")
	var stage *flow.StageError
	if err := r.Wait(); !errors.As(err, &stage) || stage.Stage != "stream" || !redis.HasErrorPrefix(err, "NOPERM") {
		t.Errorf("ended with %v", err)
	}
}

// Each empty read was logged as an error, and after an error the next read followed without a
// pause.
func TestG4_NothingToReadIsNoError(t *testing.T) {
	s := newPrivateStand(t)
	var log lockedBuffer
	r := start(
		t,
		flow.To(source.Stream(s.rdb, config[string](s)), (&inbox[string]{}).sink()),
		flow.Log(slog.New(zerolog.NewSlogHandler(zerolog.New(&log).Level(zerolog.WarnLevel)))),
	)
	redistest.Soon(t, "some empty reads", func() bool { return s.calls(t, "xreadgroup") >= 5 })
	logged := log.String() // a slow drain is logged as well
	drain(t, r)
	if logged != "" {
		t.Errorf("log:\n%s", logged)
	}
}

// A refused XADD was only logged, so the entry was lost.
func TestG5_RefusedWritesAreNotDropped(t *testing.T) {
	s := newPrivateStand(t)
	want := s.fill(t, 50)
	// Create the group first, because the graph starts when the server is already full.
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil { // XADD: OOM
		t.Fatal(err)
	}
	var retried atomic.Int64
	out := sink.StreamConfig[string]{Key: s.key + ":out", OnRetry: func(sink.StreamRetry) { retried.Add(1) }}
	r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), sink.Stream(s.rdb, out)))
	redistest.Soon(t, "refused twice", func() bool { return retried.Load() >= 2 })
	if pending, lag := s.group(t); pending == 0 || pending+lag != 50 {
		t.Errorf("%d pending and %d unread while nothing could be written, want 50", pending, lag)
	}
	if err := s.rdb.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "all acknowledged", func() bool { return pendingAndLag(t, s) == 0 })
	drain(t, r)
	if d := copied(t, s.rdb, out.Key, len(want)); d != 0 {
		t.Errorf("%d duplicates", d)
	}
}

// When the downstream stopped, the source's goroutine blocked forever on a send. Here this
// package's TestMain checks that no goroutine is left. Entries that were read but not used are
// available to others at once.
func TestG6_NobodyWaitsForWhoLeft(t *testing.T) {
	s := newStand(t)
	want := s.fill(t, 30)
	before := runtime.NumGoroutine()
	var got []string
	const long = redistest.Patience
	first := source.Stream(s.rdb, config[string](s))
	for v, err := range flow.Values(t.Context(), first, flow.AckTimeout(long), flow.KillGrace(long)) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, v); len(got) == 3 {
			break
		}
	}
	redistest.Soon(t, "its goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), in.sink()))
	redistest.Soon(t, "the rest", func() bool { return in.count() == 28 })
	drain(t, r)
	s.wantSettled(t)
	if diff := cmp.Diff(want[2:], sorted(in.values())); diff != "" { // the loop left in the middle of the third
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

// An entry without the body's field was skipped without an ack and stayed pending forever.
func TestB1_EntryWithoutABodyIsSettled(t *testing.T) {
	s := newStand(t)
	for range 20 {
		s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "meta", "only"))
	}
	s.fill(t, 1)
	cfg := config[string](s)
	cfg.MaxInFlight = 4 // if they were kept, nothing else would get through
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "the one with a body", func() bool { return in.count() == 1 })
	redistest.Soon(t, "the dead letters", func() bool { return s.rdb.XLen(t.Context(), s.key+":dead").Val() == 20 })
	drain(t, r)
	s.wantSettled(t)
}

// Entries trimmed while pending are the same case, because go-redis returns them without values.
func TestB2_TrimmedWhilePendingIsSettledAndCounted(t *testing.T) {
	s := newStand(t)
	s.fill(t, 10)
	s.takenBy(t, "dead", 6)
	s.rdb.XTrimMaxLen(t.Context(), s.key, 7) // takes three of the six
	trimmed := make(chan int, 10)
	cfg := config[string](s)
	cfg.Lease = 300 * time.Millisecond
	cfg.OnEvent = func(e redisio.Event) {
		if e.Kind == redisio.EventTrimmed {
			trimmed <- e.Count
		}
	}
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "what is left", func() bool { return in.count() == 7 })
	lost := 0
	for lost < 3 {
		lost += <-trimmed
	}
	drain(t, r)
	s.wantSettled(t)
	if diff := cmp.Diff([]string{"3", "4", "5", "6", "7", "8", "9"}, sorted(in.values())); diff != "" || lost != 3 {
		t.Errorf("%d lost, values (-want +got):\n%s", lost, diff)
	}
	if n := s.rdb.XLen(t.Context(), s.key+":dead").Val(); n != 0 {
		t.Errorf("%d dead letters of nothing", n)
	}
}

// The entries of a dead consumer were never taken over.
func TestB3_DeadConsumersEntriesAreTakenOver(t *testing.T) {
	s := newStand(t)
	want := s.fill(t, 20)
	s.takenBy(t, "dead", 20)
	cfg := config[string](s)
	cfg.Lease = 300 * time.Millisecond
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "all", func() bool { return in.count() == 20 })
	drain(t, r)
	s.wantSettled(t)
	if diff := cmp.Diff(want, sorted(in.values())); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	for _, m := range in.msgs {
		if m.Attempt() != 2 {
			t.Errorf("%s came at attempt %d, want 2", m.Value, m.Attempt())
		}
	}
}

// A failed XACK was logged, and its ids were dropped.
func TestB4_FailedAcksAreSentAgain(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(*line){
		"not sent":   func(l *line) { l.cut("xack", 6) }, // more often than go-redis retries
		"reply lost": func(l *line) { l.loseReplies("xack", 6) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.fill(t, 10)
			l := newLine(s)
			hurt(l)
			var in inbox[string]
			r := start(t, flow.To(source.Stream(l.client(t), config[string](s)), in.sink()))
			redistest.Soon(t, "all acknowledged", func() bool { return pendingAndLag(t, s) == 0 && l.broken() == 6 })
			drain(t, r)
			if in.count() != 10 {
				t.Errorf("%d handled, want each once", in.count())
			}
		})
	}
}

// A failing read was retried without a pause.
func TestB6_FailedReadsAreTriedSlower(t *testing.T) {
	t.Parallel()
	s := newPrivateStand(t)
	l := newLine(s)
	var in inbox[string]
	cfg := config[string](s)
	cfg.DelayedEvery = -1 // so that little else dials
	r := start(t, flow.To(source.Stream(l.client(t), cfg), in.sink()))
	s.fill(t, 1)
	redistest.Soon(t, "the first", func() bool { return in.count() == 1 && pendingAndLag(t, s) == 0 })
	redistest.Soon(t, "its ack is over", func() bool { return r.Snapshot(t.Context()).Sources[0].InFlight == 0 })
	before, since := l.dials.Load(), time.Now()
	s.Kill(t)
	const tries = 6 // some may be signs of life, which are sent next to the reads
	redistest.Soon(t, "some tries", func() bool { return l.dials.Load()-before >= tries })
	if d := time.Since(since); d < 30*time.Millisecond { // half of 20 ms, doubled with each retry
		t.Errorf("%d tries in %v", tries, d)
	}
	s.Restart(t)
	s.fill(t, 1)
	redistest.Soon(t, "it reads again", func() bool { return in.count() == 2 && pendingAndLag(t, s) == 0 })
	drain(t, r)
}
