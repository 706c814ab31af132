package sink_test

import (
	"context"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

// copies is a source of n copies of v.
func copies[T any](v T, n int) flow.Source[T] {
	return flow.NewSource("copies", func() flow.Reader[T] { return &copier[T]{v, n} })
}

type copier[T any] struct {
	v    T
	left int
}

func (c *copier[T]) Read(_ context.Context, in *flow.Intake[T]) error {
	for c.left > 0 && in.Room() > 0 {
		in.AddValue(c.v)
		c.left--
	}
	if c.left == 0 {
		return io.EOF
	}
	return nil
}

// BenchmarkStreamProduce compares the sink with a hand-written go-redis loop of four goroutines,
// each with pipelines of 128. The two alternate. Run it with -benchtime=7x or so; the result is the
// median ratio.
func BenchmarkStreamProduce(b *testing.B) {
	const n = 100_000
	rdb := redistest.Start(b).Client(b)
	bg, key, payload := context.Background(), redistest.Key(b), strings.Repeat("x", 100)
	check := func() {
		if got := rdb.XLen(bg, key).Val(); got != n {
			b.Fatalf("%d entries, want %d", got, n)
		}
		rdb.Del(bg, key)
	}
	for _, pipelines := range []int{1, 2, 4} {
		b.Run(map[int]string{1: "pipelines=1", 2: "pipelines=2", 4: "pipelines=4"}[pipelines], func(b *testing.B) {
			var ours, theirs, ratio, allocs []float64
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				to := sink.Stream(
					rdb,
					sink.StreamConfig[string]{Key: key, Tuning: writer.Tuning{Pipelines: pipelines, Depth: 128}},
				)
				if err := flow.New("produce", flow.To(copies(payload, n), to)).Run(bg); err != nil {
					b.Fatal(err)
				}
				took := time.Since(start)
				runtime.ReadMemStats(&after)
				check()
				hand := produceByHand(b, rdb, key, payload, n)
				check()
				ours, theirs = append(ours, n/took.Seconds()), append(theirs, n/hand.Seconds())
				ratio = append(ratio, hand.Seconds()/took.Seconds())
				allocs = append(allocs, float64(after.Mallocs-before.Mallocs)/n)
			}
			median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours), "msgs/s")
			b.ReportMetric(median(theirs), "goredis-msgs/s")
			b.ReportMetric(median(ratio), "ratio")
			b.ReportMetric(median(allocs), "allocs/msg")
		})
	}
}

func produceByHand(b *testing.B, rdb *redis.Client, key, payload string, n int) time.Duration {
	ctx := context.Background()
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				have := min(128, n-int(next.Add(128))+128)
				if have <= 0 {
					return
				}
				p := rdb.Pipeline()
				for range have {
					p.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []any{"data", payload}})
				}
				if _, err := p.Exec(ctx); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}
