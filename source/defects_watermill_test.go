package source_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// An entry that the unmarshaler could not read closed the subscription. After a restart the entry
// was claimed and closed it again.
func TestW1_ForeignEntryIsADeadLetter(t *testing.T) {
	s := newStand(t)
	s.fill(t, 1)
	foreign := s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "payload", "x", "payload", "y")).Val()
	s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "data", "1"))
	for life := range 2 {
		var in inbox[string]
		r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), in.sink()))
		s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "data", fmt.Sprint(2+life)))
		want := [][]string{{"0", "1", "2"}, {"3"}}[life]
		redistest.Soon(t, "the others", func() bool { return in.count() >= len(want) })
		redistest.Soon(t, "the dead letter", func() bool { return s.rdb.XLen(t.Context(), s.key+":dead").Val() == 1 })
		drain(t, r)
		if diff := cmp.Diff(want, in.values()); diff != "" {
			t.Errorf("life %d, values (-want +got):\n%s", life, diff)
		}
	}
	s.wantSettled(t)
	letter := s.rdb.XRange(t.Context(), s.key+":dead", "-", "+").Val()[0].Values
	if s.rdb.XLen(t.Context(), s.key+":dead").Val() != 1 || letter["dead:id"] != foreign || letter["payload"] != "y" {
		t.Errorf("letter %v", letter)
	}
}

// With MaxIdleTime 300 ms, a handler that took a second was called three times, because the claim
// loop took entries of its own process.
func TestW2_RunningMessageIsNotDeliveredAgain(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.fill(t, 1)
	const lease = 300 * time.Millisecond
	cfg := config[string](s)
	cfg.Lease = lease
	var called atomic.Int64
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	r := start(t, flow.To(source.Stream(s.rdb, cfg), sink.Func(func(ctx context.Context, _ string) error {
		called.Add(1)
		begun <- struct{}{}
		return until(ctx, goOn)
	}, flow.Workers(4), flow.Unordered())))
	<-begun
	since := time.Now()
	redistest.Soon(t, "four leases", func() bool {
		list := s.rdb.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: s.key, Group: "g", Start: "-", End: "+",
			Count: 10}).
			Val()
		if len(list) != 1 || list[0].RetryCount != 1 || called.Load() != 1 {
			t.Fatalf("called %d times, pending %+v", called.Load(), list)
		}
		return time.Since(since) > 4*lease
	})
	close(goOn)
	redistest.Soon(t, "the ack", func() bool { pending, _ := s.group(t); return pending == 0 })
	drain(t, r)
	if called.Load() != 1 {
		t.Errorf("called %d times", called.Load())
	}
}

// FLUSHALL deleted the group, which only Subscribe created, so later messages were never received.
func TestW3_LostGroupIsMadeAgain(t *testing.T) {
	s := newPrivateStand(t)
	s.fill(t, 1)
	var in inbox[string]
	var recreated atomic.Int64
	cfg := config[string](s)
	cfg.OnEvent = func(e redisio.Event) {
		if e.Kind == redisio.EventGroupRecreated {
			recreated.Add(1)
		}
	}
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "the first", func() bool { return in.count() == 1 })
	s.FlushAll(t)
	s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "data", "after"))
	redistest.Soon(t, "what came afterwards", func() bool { return in.count() == 2 })
	drain(t, r)
	s.wantSettled(t)
	if in.values()[1] != "after" || recreated.Load() != 1 {
		t.Errorf("values %v, made again %d times", in.values(), recreated.Load())
	}
}

// A message that was always nacked was delivered 857,185 times in two seconds, and the next one
// never.
func TestW4_PermanentNackNeitherSpinsNorBlocks(t *testing.T) {
	s := newStand(t)
	s.fill(t, 2)
	cfg := config[string](s)
	cfg.MaxInFlight = 1 // one at a time, as in watermill
	var poison atomic.Int64
	var in inbox[string]
	src := handle(source.Stream(s.rdb, cfg), func(_ context.Context, m flow.Message[string]) error {
		if m.Value != "0" {
			return nil
		}
		if n := poison.Add(1); int(n) != m.Attempt() {
			t.Errorf("call %d is attempt %d", n, m.Attempt())
		}
		return errors.New("never")
	}, flow.OnFault(flow.Nack)) // at once: the worst case
	r := start(t, flow.To(src, in.sink()))
	redistest.Soon(t, "the one behind it", func() bool { return in.count() == 1 })
	redistest.Soon(t, "the dead letter", func() bool { return s.rdb.XLen(t.Context(), s.key+":dead").Val() == 1 })
	drain(t, r)
	s.wantSettled(t)
	if poison.Load() != 16 {
		t.Errorf("delivered %d times, want MaxDeliveries", poison.Load())
	}
}

// Work finished while the subscriber closed was delivered again, because its ack lost a select
// against the end of the context.
func TestW6_WorkDoneAtTheEndIsAcked(t *testing.T) {
	for name, end := range map[string]func(*flow.Running) error{
		"drained": func(r *flow.Running) error { _, err := r.Drain(context.Background()); return err },
		"stopped": (*flow.Running).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.fill(t, 1)
			begun := make(chan struct{})
			goOn := make(chan struct{})
			r := start(
				t,
				flow.To(source.Stream(s.rdb, config[string](s)), sink.Func(func(context.Context, string) error {
					close(begun)
					<-goOn
					return nil
				})),
			)
			<-begun
			ended := make(chan error)
			go func() { ended <- end(r) }()
			redistest.Soon(t, "it is ending", func() bool { return r.State() >= flow.Draining })
			close(goOn) // only now is the work done
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			s.wantSettled(t)
		})
	}
}

// Close closed the client that the caller had passed in.
func TestW7_TheCallersClientStaysOpen(t *testing.T) {
	s := newStand(t)
	var in inbox[string]
	stays := start(t, flow.To(source.Stream(s.rdb, config[string](s)), in.sink()))
	for range 3 { // other readers start and stop on the same client
		cfg := config[string](s)
		cfg.Key = s.key + ":other"
		r := start(
			t,
			flow.To(source.Stream(s.rdb, cfg), sink.Stream(s.rdb, sink.StreamConfig[string]{Key: s.key + ":out"})),
		)
		drain(t, r)
		tail := start(
			t,
			flow.To(
				source.Tail(s.rdb, source.TailConfig[string]{Key: cfg.Key, Block: 10 * time.Millisecond}),
				in.sink(),
			),
		)
		drain(t, tail)
	}
	s.fill(t, 1)
	redistest.Soon(t, "it reads on", func() bool { return in.count() == 1 })
	drain(t, stays)
	if err := s.rdb.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

// The claim loop checked only the first hundred pending entries. Behind the entries of a slow
// consumer, it never saw those of a dead one.
func TestW8_ReclaimLooksAtAllThatIsPending(t *testing.T) {
	s := newStand(t)
	s.fill(t, 1210)
	s.takenBy(t, "slow", 1200)
	for _, id := range s.takenBy(t, "dead", 10) {
		if err := s.rdb.Do(t.Context(), "xclaim", s.key, "g", "dead", 0, id, "idle", 600_000,
			"justid").Err(); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config[string](s)
	cfg.MaxInFlight = 3 // so that each scan is small
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "the dead one's", func() bool { return in.count() == 10 })
	drain(t, r)
	if diff := cmp.Diff([]string{"1200", "1201", "1202", "1203", "1204", "1205", "1206", "1207", "1208", "1209"},
		sorted(in.values())); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if pending, _ := s.group(t); pending != 1200 {
		t.Errorf("%d pending, want those of the slow consumer", pending)
	}
}

// A fan-out subscriber from "0" asked for the whole stream in one reply, because COUNT 0 is omitted
// and means no limit.
func TestW9_ReadingFromTheStartIsBounded(t *testing.T) {
	s := newStand(t)
	const n, size = 5000, 2000
	pipe := s.rdb.Pipeline()
	value := strings.Repeat("x", size)
	for range n {
		pipe.XAdd(t.Context(), redistest.Entry(s.key, "data", value))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]func(rdb *redis.Client) flow.Source[string]{
		"tail": func(rdb *redis.Client) flow.Source[string] {
			return source.Tail(rdb, source.TailConfig[string]{
				Key: s.key, Start: redisio.StartBeginning(), MaxInFlight: 20, Block: 20 * time.Millisecond})
		},
		"group": func(rdb *redis.Client) flow.Source[string] {
			cfg := config[string](s)
			cfg.MaxInFlight = 20
			return source.Stream(rdb, cfg)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLine(s)
			begun, goOn := make(chan struct{}), make(chan struct{})
			var once sync.Once
			r := start(t, flow.To(of(l.client(t)), sink.Func(func(ctx context.Context, _ string) error {
				once.Do(func() { close(begun) })
				return until(ctx, goOn)
			})))
			<-begun
			redistest.Soon(t, "no more may be read", func() bool {
				s := r.Snapshot(t.Context()).Sources[0]
				return s.InFlight == s.ReadAhead
			})
			if got := l.read.Load(); got > 40*size {
				t.Errorf("%d bytes were read for 20 entries of %d", got, size)
			}
			close(goOn)
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Each read returned one entry and one message was in flight: 5,900 messages a second.
func TestW10_EntriesTravelInBatches(t *testing.T) {
	s := newPrivateStand(t)
	const n = 10_000
	s.fill(t, n)
	var in inbox[string]
	cfg := config[string](s)
	cfg.Block = 200 * time.Millisecond // so that waiting for a slow machine makes few reads
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "all through", func() bool { return in.count() == n })
	drain(t, r)
	s.wantSettled(t)
	if reads, acks := s.calls(t, "xreadgroup"), s.calls(t, "xack"); reads > n/20 || acks > n/20 {
		t.Errorf("%d reads and %d acks for %d entries", reads, acks, n)
	}
}
