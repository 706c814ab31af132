package sink_test

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// pour runs a graph of a ledger source and a sink.
func pour(t *testing.T, l *ledger[string], to flow.Sink[string]) {
	t.Helper()
	if err := flow.New("test", flow.To(l.source(), to)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func messages(values ...flow.Message[string]) *ledger[string] {
	return &ledger[string]{msgs: values, ends: make(map[int]flow.Settlement)}
}

// A redelivery that produces the same entry does not write it again; different entries of one
// message id are all written.
func TestStreamWritesOnce(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	m := func(v, id string) flow.Message[string] { return flow.NewMessage(v, flow.Meta{MessageID: id}) }
	cfg := sink.StreamConfig[string]{Key: key, DedupeWindow: time.Minute}
	pour(t, messages(m("a", "1"), m("b", "1"), m("a", "2"), m("c", ""), m("c", "")), sink.Stream(rdb, cfg))
	again := messages(m("a", "1"), m("b", "1"), m("a", "2"), m("d", "1"), m("e", ""))
	pour(t, again, sink.Stream(rdb, cfg))
	if diff := cmp.Diff([]string{"a", "b", "a", "c", "c", "d", "e"}, data(t, rdb, key)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 5}, again.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	doubtful := flow.NewMessage("f", flow.Meta{MessageID: "3", MaybeDuplicate: true})
	pour(t, messages(m("f", "3"), doubtful), sink.Stream(rdb, cfg))
	if n := len(data(t, rdb, key)); n != 8 {
		t.Errorf("the second copy that a producer wrote was written: %d entries", n)
	}
	cfg.IDFor = func(m flow.Message[string]) string {
		if m.Value == "panic" {
			panic("cannot")
		}
		return strings.ToLower(m.Value)
	}
	own := messages(m("x", ""), m("X", ""), m("panic", ""), m("y", ""))
	pour(t, own, sink.Stream(rdb, cfg))
	if n := len(data(t, rdb, key)); n != 10 || own.ends[2].Outcome != flow.Dead {
		t.Errorf("%d entries, a panic ends as %v", n, own.ends[2].Outcome)
	}
}

// consume settles entries of group g until it has n, and returns the number of distinct values.
func consume(t *testing.T, rdb *redis.Client, key string, n int) int {
	seen := make(map[any]bool)
	for got := 0; got < n && t.Context().Err() == nil; {
		streams, err := rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c",
			Streams: []string{key, ">"},
			Count:   20, Block: 100 * time.Millisecond}).
			Result()
		if err != nil {
			continue
		}
		for _, m := range streams[0].Messages {
			seen[m.Values["data"]] = true
			rdb.XAck(t.Context(), key, "g", m.ID)
			got++
		}
	}
	return len(seen)
}

// A stream at its cap stops the graph's sources until consumers have made room. Nothing is lost.
func TestStreamPausesAtTheCap(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rdb.XGroupCreateMkStream(t.Context(), key, "g", "0")
	var wg sync.WaitGroup
	full := make(chan struct{})
	var once sync.Once
	cfg := sink.StreamConfig[string]{Key: key, Tuning: writer.Tuning{HardCap: 100}, OnRetry: func(r sink.StreamRetry) {
		if !errors.Is(r.Err, redisio.ErrBackpressure) || r.Unknown > 0 {
			t.Errorf("got %+v", r)
		}
		once.Do(func() { close(full) })
	}}
	wg.Go(func() {
		<-full
		if n := consume(t, rdb, key, 1000); n != 1000 {
			t.Errorf("%d of 1000 values", n)
		}
	})
	l := numbers(1000)
	pour(t, l, sink.Stream(rdb, cfg))
	wg.Wait()
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 1000}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestStreamRefusesAtTheCap(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	l := numbers(300)
	pour(
		t,
		l,
		sink.Stream(
			rdb,
			sink.StreamConfig[string]{Key: key, Tuning: writer.Tuning{HardCap: 100, WhenFull: writer.FullRefuse}},
		),
	)
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 100, flow.Dead: 200}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	var full *writer.StreamFullError
	if err := l.ends[299].Err(); !errors.As(err, &full) {
		t.Errorf("got %v", err)
	}
}

func TestStreamDropsAtTheCap(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rdb.XGroupCreateMkStream(t.Context(), key, "g", "0")
	var lost atomic.Int64
	cfg := sink.StreamConfig[string]{
		Key: key,
		Tuning: writer.Tuning{
			HardCap:  100,
			WhenFull: writer.FullDrop,
		},
		OnEvent: func(e redisio.Event) {
			lost.Add(int64(e.Count))
			panic("in a hook")
		},
	}
	pour(t, numbers(1000), sink.Stream(rdb, cfg))
	if got := data(t, rdb, key); len(got) != 100 || got[99] != "999" || lost.Load() != 900 {
		t.Errorf("%d entries, %d lost", len(got), lost.Load())
	}
}

// A stopped replica blocks the sink; when it continues, all entries are there once.
func TestStreamWaitsForReplicas(t *testing.T) {
	s := redistest.Start(t, redistest.Args("--repl-diskless-sync-delay", "0"))
	host, port, _ := net.SplitHostPort(s.Addr())
	rep := redistest.Start(t, redistest.Args("--replicaof", host+" "+port))
	rdb, key := s.Client(t), redistest.Key(t)
	redistest.Soon(t, "the replica is in step", func() bool {
		return strings.Contains(rdb.Info(t.Context(), "replication").Val(), "state=online") &&
			rdb.Wait(t.Context(), 1, 100*time.Millisecond).Val() == 1
	})
	rep.Pause(t)
	retried := make(chan sink.StreamRetry, 1000)
	cfg := sink.StreamConfig[string]{
		Key:          key,
		DedupeWindow: time.Minute,
		OnRetry:      func(r sink.StreamRetry) { retried <- r },
		Tuning: writer.Tuning{
			Durability: writer.Durability{Replicas: 1, Timeout: 50 * time.Millisecond},
		},
	}
	l := numbers(1000)
	r, err := flow.New("durable", flow.To(l.source(), sink.Stream(rdb, cfg))).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	var weak *writer.DurabilityError
	if first := <-retried; !errors.As(first.Err, &weak) || first.Unknown == 0 || first.NotWritten > 0 {
		t.Errorf("got %+v", first)
	}
	<-retried
	if l.settled() > 0 {
		t.Errorf("%d messages are settled, nothing is confirmed", l.settled())
	}
	rep.Resume(t)
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := data(t, rep.Client(t), key); len(got) != 1000 || got[999] != "999" {
		t.Errorf("%d entries on the replica", len(got))
	}
}

// Messages with a time in the future go to the schedule of their stream.
func TestStreamAt(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	hour := time.Now().Add(time.Hour)
	cfg := sink.StreamConfig[string]{
		KeyFor: func(m flow.Message[string]) string {
			if m.Value == "homeless" {
				return "a}b"
			}
			return key + m.Value[:1]
		},
		At: func(m flow.Message[string]) time.Time {
			switch m.Value[1:] {
			case "later", "omeless":
				return hour
			case "past":
				return time.Now().Add(-time.Hour)
			case "panic":
				panic("cannot")
			}
			return time.Time{}
		}}
	l := ledgerOf("anow", "alater", "bpast", "blater", "apanic", "homeless", "bnow")
	pour(t, l, sink.Stream(rdb, cfg))
	if diff := cmp.Diff([][]string{{"anow"}, {"bpast", "bnow"}}, [][]string{data(t, rdb, key+"a"), data(t, rdb, key+"b")}); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	for _, k := range []string{"a", "b"} {
		s, err := schedule.New(rdb, schedule.Config{Key: key + k})
		if err != nil {
			t.Fatal(err)
		}
		list, err := s.List(t.Context(), 0, 10)
		if err != nil || len(list) != 1 || list[0].At.UnixMilli() != hour.UnixMilli() {
			t.Fatalf("%v, %v", list, err)
		}
		if v, _ := list[0].Fields.Get("data"); string(v) != k+"later" {
			t.Errorf("got %s", v)
		}
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 5, flow.Dead: 2}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	err := flow.New("bad", flow.To(numbers(1).source(), sink.Stream(rdb, sink.StreamConfig[string]{Key: "a}b",
		At: cfg.At}))).
		Validate()
	var b *flow.BuildError
	if !errors.As(err, &b) {
		t.Errorf("a key without a place for its schedule: %v", err)
	}
}

// The sink waits for the schedule as it waits for the stream.
func TestStreamAtWaitsWhileRedisIsFull(t *testing.T) {
	s := redistest.Start(t)
	rdb, key := s.Client(t), redistest.Key(t)
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	cfg := sink.StreamConfig[string]{
		Key: key,
		At:  func(flow.Message[string]) time.Time { return time.Now().Add(time.Hour) },
		OnRetry: func(r sink.StreamRetry) {
			if !errors.Is(r.Err, redisio.ErrBackpressure) {
				t.Errorf("got %v", r.Err)
			}
			once.Do(func() { rdb.ConfigSet(context.Background(), "maxmemory", "0") })
		},
	}
	l := numbers(500)
	pour(t, l, sink.Stream(rdb, cfg))
	sch, err := schedule.New(rdb, schedule.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := sch.Info(t.Context()); err != nil || info.Count != 500 {
		t.Errorf("%+v, %v", info, err)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 500}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// The server runs out of memory. Consumers drain, trimming makes room, and all entries arrive.
func TestStreamOutOfMemory(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Args("--maxmemory", "6mb", "--maxmemory-policy", "noeviction"))
	rdb, key := s.Client(t), redistest.Key(t)
	rdb.XGroupCreateMkStream(t.Context(), key, "g", "0")
	full := make(chan struct{})
	var once sync.Once
	const n = 600
	l := ledgerOf[string]()
	for i := range n {
		l.msgs = append(l.msgs, flow.NewMessage(fmt.Sprintf("%d%s", i, strings.Repeat("x", 16<<10)), flow.Meta{}))
	}
	cfg := sink.StreamConfig[string]{
		Key:    key,
		MaxLen: 10,
		Tuning: writer.Tuning{Depth: 16},
		OnRetry: func(r sink.StreamRetry) {
			if errors.Is(r.Err, redisio.ErrBackpressure) {
				once.Do(func() { close(full) })
			}
		},
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		<-full
		if got := consume(t, rdb, key, n); got != n {
			t.Errorf("%d of %d values", got, n)
		}
	})
	pour(t, l, sink.Stream(rdb, cfg))
	wg.Wait()
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: n}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// A source delivers the mark of a repeated write, and messages derived from it keep the mark.
func TestStreamPassesTheMarkOn(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for _, v := range [][]string{{"data", "a"}, {"data", "b", "dup", "1"}, {"data", "c", "dup", "0"}} {
		rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: v})
	}
	in := source.Range(rdb, source.RangeConfig[string]{Key: key})
	if err := flow.New("mark", flow.To(in, sink.Stream(rdb, sink.StreamConfig[string]{Key: key + ":out"}))).Run(
		t.Context()); err != nil {
		t.Fatal(err)
	}
	var marks []any
	for _, e := range rdb.XRange(t.Context(), key+":out", "-", "+").Val() {
		marks = append(marks, e.Values["dup"])
	}
	if diff := cmp.Diff([]any{nil, "1", nil}, marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
}
