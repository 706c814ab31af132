package source_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A consumer without a reader for its output stopped after sixteen messages.
func TestD2_OneWayConsumerGoesOn(t *testing.T) {
	s := newStand(t)
	s.fill(t, 500)
	cfg := config[string](s)
	cfg.MaxInFlight = 16
	r := start(
		t,
		flow.To(
			operators.Map(
				source.Stream(s.rdb, cfg),
				func(_ context.Context, v string) (string, error) { return v, nil },
			),
			sink.Discard[string](),
		),
	)
	redistest.Soon(t, "all", func() bool { return pendingAndLag(t, s) == 0 })
	drain(t, r)
}

// The options of a group's member were overwritten. Its handler threw for each message, and all
// messages stayed pending forever.
func TestD5_PanickingHandlerLeavesNothingPending(t *testing.T) {
	s := newStand(t)
	s.fill(t, 5)
	cfg := config[string](s)
	cfg.Consumer, cfg.MaxDeliveries, cfg.DeadKey = "member-1", 2, s.key+":lost"
	seen := make(map[string]int)
	src := handle(source.Stream(s.rdb, cfg), func(_ context.Context, m flow.Message[string]) error {
		if seen[m.Value]++; s.rdb.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: s.key, Group: "g",
			Start: m.ID(), End: m.ID(), Count: 1}).Val()[0].Consumer != "member-1" {
			t.Error("it reads under another name than it was given")
		}
		panic("in a handler")
	}, flow.OnFault(flow.Nack))
	r := start(t, flow.To(src, (&inbox[string]{}).sink()))
	redistest.Soon(
		t,
		"dead letters where they were asked for",
		func() bool { return s.rdb.XLen(t.Context(), s.key+":lost").Val() == 5 },
	)
	drain(t, r)
	s.wantSettled(t)
	if diff := cmp.Diff(map[string]int{"0": 2, "1": 2, "2": 2, "3": 2, "4": 2}, seen); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// XGROUP CREATE was sent without MKSTREAM and its error was taken as a reply, so a missing stream
// had no group.
func TestD6_StreamNeedNotExist(t *testing.T) {
	s := newStand(t)
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), in.sink()))
	redistest.Soon(t, "the group", func() bool { return len(s.rdb.XInfoGroups(t.Context(), s.key).Val()) == 1 })
	s.fill(t, 1)
	redistest.Soon(t, "the first entry", func() bool { return in.count() == 1 })
	drain(t, r)
	s.wantSettled(t)
}

// The XACK waited behind a blocking XREADGROUP on the same connection, so the last message stayed
// pending for half an hour.
func TestD7_AcksDoNotWaitBehindReads(t *testing.T) {
	t.Parallel()
	s := newPrivateStand(t)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), PoolSize: 1}) // the caller's pool has one connection
	defer rdb.Close()
	cfg := config[string](s)
	cfg.Block = 2 * time.Second
	blocked := func() bool { return strings.Contains(s.rdb.Info(t.Context(), "clients").Val(), "blocked_clients:1") }
	begun, goOn := make(chan struct{}), make(chan struct{})
	r := start(t, flow.To(source.Stream(rdb, cfg), sink.Func(func(ctx context.Context, _ string) error {
		select {
		case begun <- struct{}{}:
		case <-ctx.Done():
		}
		return until(ctx, goOn)
	})))
	const tries = 20
	behind := 0
	for range tries { // a block may end by itself at that moment, but not each time
		s.fill(t, 1)
		<-begun
		redistest.Soon(t, "the next read is blocked", blocked)
		reads := s.calls(t, "xreadgroup")
		goOn <- struct{}{}
		redistest.Soon(t, "the ack", func() bool { pending, _ := s.group(t); return pending == 0 })
		if s.calls(t, "xreadgroup") == reads && blocked() {
			break
		}
		behind++
	}
	if behind == tries {
		t.Error("the ack came when the read had ended")
	}
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
}

// A message without a handler was acknowledged and lost. Here a message that a handler refuses is a
// failure.
func TestD8_UnknownTypeIsNotAcked(t *testing.T) {
	s := newStand(t)
	for _, typ := range []string{"known", "unknown", "known"} {
		s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "data", "x", "type", typ))
	}
	var in inbox[string]
	src := handle(source.Stream(s.rdb, config[string](s)), func(_ context.Context, m flow.Message[string]) error {
		if m.Type() != "known" {
			return flow.Reject(fmt.Errorf("no handler for %q", m.Type()))
		}
		return nil
	})
	r := start(t, flow.To(src, in.sink()))
	redistest.Soon(t, "those with a handler", func() bool { return in.count() == 2 })
	redistest.Soon(t, "the other", func() bool { return s.rdb.XLen(t.Context(), s.key+":dead").Val() == 1 })
	drain(t, r)
	s.wantSettled(t)
	letter := s.rdb.XRange(t.Context(), s.key+":dead", "-", "+").Val()[0].Values
	if letter["type"] != "unknown" || !strings.Contains(letter["dead:error"].(string), `no handler for "unknown"`) {
		t.Errorf("letter %v", letter)
	}
}

// After a crash, a member that returned under its name never got the entries it had read; neither
// did any other member.
func TestD9_CrashedMemberFindsItsEntries(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	want := s.fill(t, 10)
	s.takenBy(t, "member-1", 7)
	cfg := config[string](s) // a lease of a minute, which the reader does not wait for
	cfg.Consumer = "member-1"
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "all", func() bool { return in.count() == 10 })
	drain(t, r)
	s.wantSettled(t)
	got := slices.Sorted(slices.Values(in.values())) // new entries may arrive between the redelivered ones
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

// XREADGROUP was sent without COUNT, so the first of three members took the whole backlog.
func TestD10_BacklogIsShared(t *testing.T) {
	s := newStand(t)
	s.fill(t, 1000)
	cfg := config[string](s)
	cfg.MaxInFlight = 50
	goOn := make(chan struct{})
	var runs []*flow.Running
	for range 3 {
		runs = append(
			runs,
			start(
				t,
				flow.To(
					source.Stream(s.rdb, cfg),
					sink.Func(func(ctx context.Context, _ string) error { return until(ctx, goOn) }),
				),
			),
		)
	}
	redistest.Soon(t, "each has its share", func() bool {
		consumers := s.rdb.XInfoConsumers(t.Context(), s.key, "g").Val()
		for _, c := range consumers {
			if c.Pending > 50 {
				t.Fatalf("%s has %d", c.Name, c.Pending)
			}
			if c.Pending == 0 {
				return false
			}
		}
		return len(consumers) == 3
	})
	close(goOn)
	redistest.Soon(t, "all", func() bool { return pendingAndLag(t, s) == 0 })
	for _, r := range runs {
		drain(t, r)
	}
}

// Adding a stream ended the reader of the other streams, and the read in progress lost its entries.
func TestD11_StreamsComeAndGo(t *testing.T) {
	s := newStand(t)
	var in, other inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), in.sink()))
	for i := range 5 {
		cfg := config[string](s)
		cfg.Key = fmt.Sprint(s.key, ":", i)
		added := start(t, flow.To(source.Stream(s.rdb, cfg), other.sink()))
		s.fill(t, 10)
		s.rdb.XAdd(t.Context(), redistest.Entry(cfg.Key, "data", "x"))
		redistest.Soon(t, "both", func() bool { return in.count() == 10*(i+1) && other.count() == i+1 })
		drain(t, added)
	}
	drain(t, r)
	s.wantSettled(t)
}

// "$" was sent again with each read, so entries written between two reads were lost. A quiet stream
// lost all entries that arrived while a busy one was answered.
func TestD15_TheEndIsSettledOnce(t *testing.T) {
	t.Parallel()
	s := newPrivateStand(t)
	s.fill(t, 3) // before the end
	var quiet, busy inbox[string]
	tail := func(key string, to *inbox[string]) flow.Branch {
		return flow.To(source.Tail(s.rdb, source.TailConfig[string]{Key: key, Block: time.Millisecond}), to.sink())
	}
	r := start(t, tail(s.key, &quiet), tail(s.key+":busy", &busy))
	redistest.Soon(
		t,
		"many empty reads",
		func() bool { return s.calls(t, "xrevrange") == 2 && s.calls(t, "xread") > 100 },
	)
	for i := range 200 {
		s.rdb.XAdd(t.Context(), redistest.Entry(s.key+":busy", "data", fmt.Sprint(i)))
		if i%20 == 0 {
			s.fill(t, 1)
		}
	}
	redistest.Soon(t, "all", func() bool { return quiet.count() == 10 && busy.count() == 200 })
	drain(t, r)
}

// One undecodable entry destroyed the reader, and the rest of its batch was lost. One entry of six
// was handled.
func TestD16_TheRestOfTheBatchIsHandled(t *testing.T) {
	s := newStand(t)
	pipe := s.rdb.TxPipeline() // one batch
	for i := range 6 {
		value := fmt.Sprintf(`{"id":"%d"}`, i)
		if i == 1 {
			value = `{"id":`
		}
		pipe.XAdd(t.Context(), redistest.Entry(s.key, "data", value))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]func() flow.Source[order]{
		"group": func() flow.Source[order] { return source.Stream(s.rdb, config[order](s)) },
		"tail": func() flow.Source[order] {
			return source.Tail(s.rdb, source.TailConfig[order]{Key: s.key, Start: redisio.StartBeginning(),
				Block: 20 * time.Millisecond})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var in inbox[order]
			r := start(t, flow.To(src(), in.sink()))
			redistest.Soon(t, "the rest", func() bool { return in.count() == 5 })
			drain(t, r)
			if diff := cmp.Diff([]order{{ID: "0"}, {ID: "2"}, {ID: "3"}, {ID: "4"}, {ID: "5"}}, in.values()); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
	s.wantSettled(t)
}

// Reader, writer and acks each spelled the key of a shard differently. Here all of them use the
// same key.
func TestD17_KeysAreTakenAsTheyAre(t *testing.T) {
	s := newStand(t)
	for _, key := range []string{"{%s}#shard", "%s::DEFAULT::x", "%s:a b*?[]\x00é"} {
		key := fmt.Sprintf(key, s.key)
		if err := flow.New("w", flow.To(source.Of("x"), sink.Stream(s.rdb, sink.StreamConfig[string]{Key: key}))).Run(
			t.Context()); err != nil {
			t.Fatal(err)
		}
		cfg := config[string](s)
		cfg.Key = key
		var in inbox[string]
		r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
		redistest.Soon(t, "it is read and acknowledged", func() bool {
			groups := s.rdb.XInfoGroups(t.Context(), key).Val()
			return in.count() == 1 && len(groups) == 1 && groups[0].Pending == 0
		})
		drain(t, r)
	}
}

// Nothing was ever trimmed, so streams grew until Redis was full. Here both ways to bound a stream
// work, and the one that keeps the entries groups need does so.
func TestD18_StreamsAreBounded(t *testing.T) {
	s := newStand(t)
	var msgs []flow.Message[string]
	for i := range 3000 {
		msgs = append(msgs, flow.NewMessage(fmt.Sprint(i), flow.Meta{}))
	}
	write := func(cfg sink.StreamConfig[string]) {
		if err := flow.New("w", flow.To(messages(msgs...), sink.Stream(s.rdb, cfg))).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write(sink.StreamConfig[string]{Key: s.key + ":capped", MaxLen: 500})
	if n := s.rdb.XLen(t.Context(), s.key+":capped").Val(); n < 500 || n > 700 {
		t.Errorf("%d entries of 500, roughly", n)
	}
	write(sink.StreamConfig[string]{Key: s.key})
	r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), (&inbox[string]{}).sink()))
	redistest.Soon(t, "all", func() bool { return pendingAndLag(t, s) == 0 })
	drain(t, r)
	if _, err := admin.Trim(t.Context(), s.rdb, s.key, admin.TrimOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := s.rdb.XLen(t.Context(), s.key).Val(); n > 200 {
		t.Errorf("%d entries are kept that all groups are done with", n)
	}
}

// Each read leaked a listener and a promise: 20,002 listeners after 20,000 messages.
func TestD19_ReadsLeaveNothingBehind(t *testing.T) {
	s := newPrivateStand(t)
	cfg := config[string](s)
	cfg.Block = time.Millisecond
	r := start(t, flow.To(source.Stream(s.rdb, cfg), sink.Discard[string]()))
	many := func(n int) (goroutines int, heap uint64) {
		from := s.calls(t, "xreadgroup")
		redistest.Soon(t, "many reads", func() bool {
			s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "data", "x"))
			return s.calls(t, "xreadgroup") > from+n
		})
		goroutines, heap = math.MaxInt, math.MaxUint64
		for range 5 { // a read that is in progress may hold more for a moment
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			goroutines, heap = min(goroutines, runtime.NumGoroutine()), min(heap, m.HeapObjects)
		}
		return goroutines, heap
	}
	before, objects := many(100)
	after, now := many(400)
	drain(t, r)
	if after > before+2 || now > objects+800 {
		t.Errorf("%d goroutines and %d objects became %d and %d by 400 reads", before, objects, after, now)
	}
}

// Connecting hung forever if Redis was down or if the given client was already connected.
func TestD23_ConnectingEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	var op *net.OpError
	if _, err := redisio.Connect(ctx, "redis://"+nobody, redisio.ConnectOptions{}); !errors.As(err, &op) ||
		ctx.Err() != nil {
		t.Errorf("got %v", err)
	}
	s := newStand(t)
	if err := s.rdb.Ping(ctx).Err(); err != nil { // connected already
		t.Fatal(err)
	}
	s.fill(t, 1)
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), in.sink()))
	redistest.Soon(t, "it reads", func() bool { return in.count() == 1 })
	for range 5 { // it gave up after three connections
		s.rdb.ClientKillByFilter(ctx, "type", "normal", "skipme", "yes")
		want := in.count() + 1
		s.fill(t, 1)
		redistest.Soon(t, "it reads again", func() bool { return in.count() >= want })
	}
	drain(t, r)
}

// Handlers always ran one after the other: ten messages a second at 100 ms each.
func TestD26_HandlersRunAtOnce(t *testing.T) {
	s := newStand(t)
	s.fill(t, 8)
	var all sync.WaitGroup
	all.Add(8)
	r := start(
		t,
		flow.To(
			operators.Map(source.Stream(s.rdb, config[string](s)), func(ctx context.Context, v string) (string, error) {
				all.Done()
				met := make(chan struct{})
				go func() { all.Wait(); close(met) }()
				return v, until(ctx, met) // none returns before all run
			}, flow.Workers(8)),
			sink.Discard[string](),
		),
	)
	redistest.Soon(t, "all", func() bool { return pendingAndLag(t, s) == 0 })
	drain(t, r)
}

// disconnect() dropped running handlers and unflushed replies.
func TestD27_WhatRunsIsFinished(t *testing.T) {
	s := newStand(t)
	s.fill(t, 100)
	out := s.key + ":out"
	begun, goOn := make(chan struct{}, 100), make(chan struct{})
	src := operators.Map(source.Stream(s.rdb, config[string](s)), func(ctx context.Context, v string) (string, error) {
		begun <- struct{}{}
		return v, until(ctx, goOn)
	}, flow.Workers(4))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		to := flow.To(src, sink.Stream(s.rdb, sink.StreamConfig[string]{Key: out}))
		ended <- flow.New("d", unhurried(to)...).Run(ctx)
	}()
	for range 4 {
		<-begun
	}
	cancel()
	close(goOn)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	// Messages that no handler has begun may have gone back. They are pending for other readers.
	back, lag := s.group(t)
	ran := int64(4 + len(begun))
	if n := s.rdb.XLen(t.Context(), out).Val(); n != ran || n+back+lag != 100 {
		t.Errorf("%d begun, %d written, %d given back, %d unread of 100", ran, n, back, lag)
	}
}

// The log contained whole payloads and was on by default.
func TestD28_LogsHoldNoPayloads(t *testing.T) {
	s := newStand(t)
	const secret = "4111-1111-1111-1111"
	for _, fields := range [][]string{{"data", secret}, {"data", secret, "type", "rejected"}, {"other", secret}} {
		s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: s.key, Values: fields})
	}
	var log lockedBuffer
	var in inbox[string]
	src := handle(source.Stream(s.rdb, config[string](s)), func(_ context.Context, m flow.Message[string]) error {
		if m.Type() == "rejected" {
			return flow.Reject(errors.New("no"))
		}
		return nil
	})
	r := start(
		t,
		flow.To(src, in.sink()),
		flow.Log(slog.New(zerolog.NewSlogHandler(zerolog.New(&log).Level(zerolog.TraceLevel)))),
	)
	redistest.Soon(t, "the good one", func() bool { return in.count() == 1 })
	redistest.Soon(t, "the others", func() bool { return s.rdb.XLen(t.Context(), s.key+":dead").Val() == 2 })
	drain(t, r)
	if text := log.String(); strings.Contains(text, secret) || !strings.Contains(text, "dead letters") {
		t.Errorf("log:\n%s", text)
	}
}
