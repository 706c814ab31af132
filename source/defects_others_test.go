package source_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// redisqueue asked for as many entries as its buffer had room for. With a full buffer it asked for
// all of them, because COUNT 0 means no limit. At the end it left the entries read in its queue.
func TestO1_FullBufferReadsNothing(t *testing.T) {
	t.Parallel()
	s := newPrivateStand(t)
	s.fill(t, 1000)
	cfg := config[string](s)
	cfg.MaxInFlight = 5
	r := start(t, flow.To(source.Stream(s.rdb, cfg), sink.Func(func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})))
	redistest.Soon(t, "all credits are used", func() bool { pending, _ := s.group(t); return pending == 5 })
	since := time.Now()
	reads := s.calls(t, "xreadgroup")
	redistest.Soon(t, "several blocks pass", func() bool { return time.Since(since) > 10*cfg.Block })
	if n := s.calls(t, "xreadgroup") - reads; n > signsOfLife(since) {
		t.Errorf("%d reads without a credit", n)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if pending, lag := s.group(t); pending != 5 || lag != 995 {
		t.Errorf("%d pending and %d unread", pending, lag)
	}
	var in inbox[string]
	next := start(t, flow.To(source.Stream(s.rdb, config[string](s)), in.sink())) // with a lease of a minute
	redistest.Soon(t, "all, those too", func() bool { return in.count() == 1000 })
	drain(t, next)
	s.wantSettled(t)
}

// In Dapr, processingTimeout=0 switched reclaiming off, so a restarted pod lost its entries.
func TestO2_ReclaimCannotBeSwitchedOff(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.fill(t, 1)
	id := s.takenBy(t, "dead", 1)[0]
	s.rdb.Do(
		t.Context(),
		"xclaim",
		s.key,
		"g",
		"dead",
		0,
		id,
		"idle",
		31_000,
		"justid",
	) // longer than the default lease
	var in inbox[string]
	r := start(
		t,
		flow.To(
			source.Stream(s.rdb, source.StreamConfig[string]{Key: s.key, Group: "g", Tuning: reader.Tuning{Lease: 0}}),
			in.sink(),
		),
	)
	redistest.Soon(t, "the dead one's", func() bool { return in.count() == 1 })
	drain(t, r)
	err := flow.New(
		"bad",
		flow.To(
			source.Stream(s.rdb, source.StreamConfig[string]{Key: "k", Group: "g", Tuning: reader.Tuning{Lease: -1}}),
			in.sink(),
		),
	).
		Validate()
	wantFields(t, err, "stream", "Lease")
	wrong := reader.GroupConfig{Key: "k", Group: "g", Tuning: reader.Tuning{ReclaimEvery: -1}}
	if _, err := reader.NewGroup(s.rdb, wrong); err == nil {
		t.Error("ReclaimEvery -1 was taken")
	}
}

// In Dapr, redeliverInterval: "30s" was silently ignored. Our options take no durations as text,
// and an invalid value is an error for every option.
func TestO3_NoOptionIsIgnored(t *testing.T) {
	meant := map[string]bool{ // negative values with a documented meaning
		"GroupConfig.ReapAfter": true, "StreamConfig.ReapAfter": true, "StreamConfig.MaxDeliveries": true,
		"GroupConfig.DelayedEvery": true, "StreamConfig.DelayedEvery": true,
		"GroupConfig.DeadMaxLen": true, "StreamConfig.DeadMaxLen": true,
	}
	try(t, meant, reader.GroupConfig{Key: "k", Group: "g"}, reader.GroupConfig.Validate)
	try(t, meant, reader.TailConfig{Key: "k"}, reader.TailConfig.Validate)
	try(t, meant, reader.RangeConfig{Key: "k"}, reader.RangeConfig.Validate)
	try(t, meant, writer.Config{Key: "k"}, writer.Config.Validate)
	try(t, meant, schedule.Config{Key: "k"}, schedule.Config.Validate)
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	graph := func(src flow.Source[string], to flow.Sink[string]) error {
		return flow.New("g", flow.To(src, to)).Validate()
	}
	try(t, meant, source.StreamConfig[string]{Key: "k", Group: "g"}, func(c source.StreamConfig[string]) error {
		return graph(source.Stream(rdb, c), (&inbox[string]{}).sink())
	})
	try(t, meant, source.TailConfig[string]{Key: "k"}, func(c source.TailConfig[string]) error {
		return graph(source.Tail(rdb, c), (&inbox[string]{}).sink())
	})
	try(t, meant, source.RangeConfig[string]{Key: "k"}, func(c source.RangeConfig[string]) error {
		return graph(source.Range(rdb, c), (&inbox[string]{}).sink())
	})
	try(t, meant, sink.StreamConfig[string]{Key: "k"}, func(c sink.StreamConfig[string]) error {
		return graph(source.Of("x"), sink.Stream(rdb, c))
	})
}

// try sets each number of a config to -1 in turn, and checks that the error names it.
func try[C any](t *testing.T, meant map[string]bool, good C, validate func(C) error) {
	t.Helper()
	if err := validate(good); err != nil {
		t.Fatalf("%T: %v", good, err)
	}
	typ := reflect.TypeFor[C]()
	typeName, _, _ := strings.Cut(typ.Name(), "[")
	for _, f := range reflect.VisibleFields(typ) {
		name := typeName + "." + f.Name
		if f.Type.Kind() == reflect.String &&
			(strings.HasSuffix(f.Name, "Interval") || strings.HasSuffix(f.Name, "Timeout")) {
			t.Errorf("%s is a duration as text", name)
		}
		bad := good
		v := reflect.ValueOf(&bad).Elem().FieldByIndex(f.Index)
		if !v.CanInt() || meant[name] {
			continue
		}
		v.SetInt(-1)
		if err := validate(bad); err == nil || !strings.Contains(err.Error(), f.Name) {
			t.Errorf("%s: -1 is taken: %v", name, err)
		}
	}
}

// XAUTOCLAIM cannot block, so calling it in a loop kept the server busy.
func TestO4_ReclaimingIsPaced(t *testing.T) {
	t.Parallel()
	s := newPrivateStand(t)
	const every = 200 * time.Millisecond
	r, err := reader.NewGroup(
		s.rdb,
		reader.GroupConfig{
			Tuning: reader.Tuning{
				Capabilities: &redisio.Capabilities{},
				Block:        10 * time.Millisecond,
				Lease:        time.Minute,
				ReclaimEvery: every,
			},
			Key:   s.key,
			Group: "g",
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		var b redisio.Batch
		ended <- r.Read(ctx, 10, 0, &b)
	}()
	redistest.Soon(t, "several claims", func() bool { return s.calls(t, "xautoclaim") >= 5 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	claims, reads := s.calls(t, "xautoclaim"), s.calls(t, "xreadgroup")
	if claims > 2+int(time.Since(since)/(every*9/10)) || claims >= reads {
		t.Errorf("%d XAUTOCLAIM and %d reads in %v", claims, reads, time.Since(since))
	}
}

// Entries that the first group had acknowledged were deleted, so the other group never saw them.
func TestO5_AcksOfOneGroupDeleteNothing(t *testing.T) {
	s := newStand(t)
	want := s.fill(t, 500)
	s.rdb.XGroupCreate(t.Context(), s.key, "late", "0")
	var first, late inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, config[string](s)), first.sink()))
	redistest.Soon(t, "the first group", func() bool { return first.count() == 500 })
	drain(t, r)
	if n, err := admin.Trim(t.Context(), s.rdb, s.key, admin.TrimOptions{Exact: true}); n != 0 || err != nil {
		t.Errorf("%d trimmed that a group has not read, %v", n, err)
	}
	cfg := config[string](s)
	cfg.Group = "late"
	r = start(t, flow.To(source.Stream(s.rdb, cfg), late.sink()))
	redistest.Soon(t, "the late group", func() bool { return late.count() == 500 })
	drain(t, r)
	if diff := cmp.Diff(want, late.values()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if n, err := admin.Trim(t.Context(), s.rdb, s.key, admin.TrimOptions{Exact: true}); n < 499 || err != nil {
		t.Errorf("%d trimmed of what all are done with, %v", n, err)
	}
}

// A message map of go-redis loses the order of fields and fields of the same name, which Redis
// keeps.
func TestO8_FieldsKeepTheirOrderAndDuplicates(t *testing.T) {
	s := newStand(t)
	s.rdb.Do(t.Context(), "xadd", s.key, "*", "k", "1", "z", "", "k", "2", "a", "\x00\r\n", "k", "1")
	out := s.key + ":out"
	r := start(
		t,
		flow.To(
			source.Stream(s.rdb, config[redisio.Fields](s)),
			sink.Stream(s.rdb, sink.StreamConfig[redisio.Fields]{Key: out}),
		),
	)
	redistest.Soon(t, "copied", func() bool { return s.rdb.XLen(t.Context(), out).Val() == 1 })
	drain(t, r)
	entry := s.rdb.Do(t.Context(), "xrange", out, "-", "+").Val().([]any)[0].([]any)
	if diff := cmp.Diff([]any{"k", "1", "z", "", "k", "2", "a", "\x00\r\n", "k", "1"}, entry[1]); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// Blocking reads are retried by go-redis itself. The entries of a lost reply stay pending for a
// reader that does not know of them.
func TestO9_LostReadIsRecoveredNotRepeated(t *testing.T) {
	s := newPrivateStand(t)
	l := newLine(s)
	var in inbox[string]
	r := start(t, flow.To(source.Stream(l.client(t), config[string](s)), in.sink())) // a lease of a minute
	s.fill(t, 1)
	redistest.Soon(t, "it reads", func() bool { return in.count() == 1 })
	for n := range 5 {
		l.loseReplies("xreadgroup", 1)
		s.fill(t, 3)
		redistest.Soon(t, "those in the lost reply", func() bool { return in.count() == 4+3*n && l.broken() == n+1 })
	}
	drain(t, r)
	s.wantSettled(t)
	for _, m := range in.msgs {
		if m.Attempt() > 2 {
			t.Errorf("%s came at attempt %d", m.Value, m.Attempt())
		}
	}
}

// In streamerson for Node, nothing is claimed or trimmed, a failed ack is invisible, and a read
// blocks for half an hour. For the claims see B3. The missing answer to an unknown type of message
// is a matter of services.
func TestO10_WhatTheAncestorLacked(t *testing.T) {
	t.Parallel()
	s := newPrivateStand(t)
	t.Run("acks that fail show", func(t *testing.T) {
		s.fill(t, 1)
		l := newLine(s)
		l.cut("xack", 6)
		var log lockedBuffer
		var faults atomic.Int64
		r := start(
			t,
			flow.To(source.Stream(l.client(t), config[string](s)), (&inbox[string]{}).sink()),
			flow.Log(slog.New(zerolog.NewSlogHandler(zerolog.New(&log)))),
			flow.OnEvent(flow.Hooks{Faulted: func(*flow.Fault, flow.Decision) { faults.Add(1) }}),
		)
		redistest.Soon(t, "acknowledged in the end", func() bool { return pendingAndLag(t, s) == 0 })
		drain(t, r)
		if !strings.Contains(log.String(), "ack 1 entry") {
			t.Errorf("log:\n%s", log.String())
		}
	})
	t.Run("streams are trimmed", func(t *testing.T) {
		out := s.key + ":out"
		var msgs []flow.Message[string]
		for i := range 2000 {
			msgs = append(msgs, flow.NewMessage(fmt.Sprint(i), flow.Meta{}))
		}
		if err := flow.New("w",
			flow.To(messages(msgs...),
				sink.Stream(s.rdb, sink.StreamConfig[string]{
					Key: out, MaxLen: 100, Tuning: writer.Tuning{Exact: true},
				}))).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.rdb.XLen(t.Context(), out).Val(); n != 100 {
			t.Errorf("%d entries are kept", n)
		}
	})
	t.Run("a read blocks for two seconds at most", func(t *testing.T) {
		cfg := config[string](s)
		cfg.Block = 30 * time.Minute
		wantFields(
			t,
			flow.New("bad", flow.To(source.Stream(s.rdb, cfg), (&inbox[string]{}).sink())).Validate(),
			"stream",
			"Block",
		)
	})
}
