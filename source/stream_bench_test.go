package source_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// The benchmarks measure ratios: in each iteration our way and the best hand-written go-redis loop
// do the same work, one after the other, on the same server. Run them with -benchtime=7x or so; the
// result is the median ratio.

const benchN = 100_000

// versus runs two ways of handling n messages in turn and reports the medians.
func versus(b *testing.B, n int, ours, theirs func(b *testing.B) time.Duration) {
	b.Helper()
	var a, t, ratio, allocs []float64
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		da := ours(b)
		runtime.ReadMemStats(&after)
		dt := theirs(b)
		a, t = append(a, float64(n)/da.Seconds()), append(t, float64(n)/dt.Seconds())
		ratio = append(ratio, dt.Seconds()/da.Seconds())
		allocs = append(allocs, float64(after.Mallocs-before.Mallocs)/float64(n))
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(a), "msgs/s")
	b.ReportMetric(median(t), "goredis-msgs/s")
	b.ReportMetric(median(ratio), "ratio")
	b.ReportMetric(median(allocs), "allocs/msg")
}

// text and document are payloads of 100 bytes.
var (
	text     = strings.Repeat("x", 100)
	document = fmt.Sprintf(`{"id":%q,"total":1234.5,"paid":true}`, strings.Repeat("x", 64))
)

// fillStream writes n entries.
func fillStream(b *testing.B, rdb *redis.Client, key, payload string, n int) {
	b.Helper()
	w, err := writer.New(rdb, writer.Config{Key: key, Tuning: writer.Tuning{Pipelines: 4, Depth: 512}})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	if err := w.Open(ctx); err != nil {
		b.Fatal(err)
	}
	defer w.Close(ctx)
	out := make([]redisio.Outgoing, n)
	fields := redisio.Fields{{Name: "data", Value: []byte(payload)}}
	for i := range out {
		out[i].Fields = fields
	}
	if err := w.Write(ctx, out, make([]redisio.Result, n)); err != nil {
		b.Fatal(err)
	}
}

// settledAll fails unless the group has nothing pending and nothing unread.
func settledAll(b *testing.B, rdb *redis.Client, key string) {
	b.Helper()
	groups, err := rdb.XInfoGroups(context.Background(), key).Result()
	if err != nil || len(groups) != 1 || groups[0].Pending != 0 || groups[0].Lag != 0 {
		b.Fatalf("groups of %s: %+v, %v", key, groups, err)
	}
}

// timed runs a graph until n entries are committed, and returns how long that took.
func timed(b *testing.B, n int, parts ...flow.Part) time.Duration {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen, start, took := 0, time.Now(), time.Duration(0)
	parts = append(parts, flow.OnEvent(flow.Hooks{Committed: func(_ string, s []flow.Settlement) {
		if seen += len(s); seen == n {
			took = time.Since(start)
			cancel()
		}
	}}))
	if err := flow.New("bench", parts...).Run(ctx); err != nil {
		b.Fatal(err)
	}
	return took
}

func discard[T any]() flow.Sink[T] {
	return flow.NewSink("discard", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(context.Context, []flow.Message[T]) error { return nil })
	})
}

func BenchmarkStreamConsume(b *testing.B) {
	rdb := redistest.Start(b).Client(b)
	key := redistest.Key(b)
	fillStream(b, rdb, key, text, benchN)
	length := func(s string) bool { return len(s) == 100 }
	b.Run("bytes", func(b *testing.B) {
		versus(b, benchN, func(b *testing.B) time.Duration { return consume[[]byte](b, rdb, key) },
			func(b *testing.B) time.Duration { return consumeByHand(b, rdb, key, length) })
	})
	b.Run("string", func(b *testing.B) {
		versus(b, benchN, func(b *testing.B) time.Duration { return consume[string](b, rdb, key) },
			func(b *testing.B) time.Duration { return consumeByHand(b, rdb, key, length) })
	})
	fillStream(b, rdb, key+":json", document, benchN)
	b.Run("json", func(b *testing.B) {
		versus(b, benchN, func(b *testing.B) time.Duration { return consume[order](b, rdb, key+":json") },
			func(b *testing.B) time.Duration {
				return consumeByHand(b, rdb, key+":json", func(s string) bool {
					var o order
					return json.Unmarshal([]byte(s), &o) == nil && o.Paid
				})
			})
	})
}

func consume[T any](b *testing.B, rdb *redis.Client, key string) time.Duration {
	bg := context.Background()
	rdb.XGroupDestroy(bg, key, "g")
	rdb.XGroupCreate(bg, key, "g", "0")
	took := timed(
		b,
		benchN,
		flow.To(
			source.Stream(
				rdb,
				source.StreamConfig[T]{Key: key, Group: "g", Tuning: reader.Tuning{Block: 10 * time.Millisecond}},
			),
			discard[T](),
		),
	)
	settledAll(b, rdb, key)
	return took
}

// consumeByHand reads ahead, 1000 entries at once, and acks each batch with one XACK.
func consumeByHand(b *testing.B, rdb *redis.Client, key string, use func(string) bool) time.Duration {
	ctx := context.Background()
	rdb.XGroupDestroy(ctx, key, "g")
	rdb.XGroupCreate(ctx, key, "g", "0")
	start := time.Now()
	batches := make(chan []redis.XMessage, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		for batch := range batches {
			ids := make([]string, len(batch))
			for i, m := range batch {
				if !use(m.Values["data"].(string)) {
					b.Errorf("entry %v", m)
				}
				ids[i] = m.ID
			}
			if err := rdb.XAck(ctx, key, "g", ids...).Err(); err != nil {
				b.Error(err)
			}
		}
	})
	for n := 0; n < benchN; {
		streams, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key,
			">"}, Count: 1000, Block: time.Second}).
			Result()
		if err != nil {
			b.Fatal(err)
		}
		n += len(streams[0].Messages)
		batches <- streams[0].Messages
	}
	close(batches)
	wg.Wait()
	took := time.Since(start)
	settledAll(b, rdb, key)
	return took
}

// BenchmarkStreamPipe is Redis to Redis with a map in between.
func BenchmarkStreamPipe(b *testing.B) {
	rdb := redistest.Start(b).Client(b)
	key := redistest.Key(b)
	fillStream(b, rdb, key, text, benchN)
	for _, pipelines := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("pipelines=%d", pipelines), func(b *testing.B) {
			versus(b, benchN, func(b *testing.B) time.Duration { return pipe(b, rdb, key, pipelines) },
				func(b *testing.B) time.Duration { return pipeByHand(b, rdb, key) })
		})
	}
}

func pipe(b *testing.B, rdb *redis.Client, key string, pipelines int) time.Duration {
	bg := context.Background()
	out := key + ":out"
	rdb.Del(bg, out)
	rdb.XGroupDestroy(bg, key, "g")
	rdb.XGroupCreate(bg, key, "g", "0")
	src := source.Stream(
		rdb,
		source.StreamConfig[string]{Key: key, Group: "g", Tuning: reader.Tuning{Block: 10 * time.Millisecond}},
	)
	loud := flow.Step(src, "map", func() flow.StepFunc[string, string] {
		return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			return flow.Derive(m, strings.ToUpper(m.Value)), true, nil
		}
	})
	took := timed(
		b,
		benchN,
		flow.To(
			loud,
			sink.Stream(rdb, sink.StreamConfig[string]{Key: out, Tuning: writer.Tuning{Pipelines: pipelines}}),
		),
	)
	settledAll(b, rdb, key)
	if n := rdb.XLen(bg, out).Val(); n != benchN {
		b.Fatalf("%d entries written", n)
	}
	return took
}

// pipeByHand has two workers, each reading 512 entries, and writing and acking them in one pipeline.
func pipeByHand(b *testing.B, rdb *redis.Client, key string) time.Duration {
	ctx := context.Background()
	out := key + ":out"
	rdb.Del(ctx, out)
	rdb.XGroupDestroy(ctx, key, "g")
	rdb.XGroupCreate(ctx, key, "g", "0")
	start := time.Now()
	var seen atomic.Int64
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for seen.Load() < benchN {
				streams, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: fmt.Sprint(w),
					Streams: []string{key, ">"}, Count: 512, Block: 5 * time.Millisecond}).Result()
				if err == redis.Nil {
					continue
				}
				if err != nil {
					b.Error(err)
					return
				}
				msgs := streams[0].Messages
				p := rdb.Pipeline()
				ids := make([]string, len(msgs))
				for i, m := range msgs {
					ids[i] = m.ID
					p.XAdd(
						ctx,
						&redis.XAddArgs{Stream: out, Values: []any{"data", strings.ToUpper(m.Values["data"].(string))}},
					)
				}
				p.XAck(ctx, key, "g", ids...)
				if _, err := p.Exec(ctx); err != nil {
					b.Error(err)
					return
				}
				seen.Add(int64(len(msgs)))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	settledAll(b, rdb, key)
	return took
}
