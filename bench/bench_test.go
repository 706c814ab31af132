package bench

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Benchmark runs each implementation of each case with b.N messages of 100 bytes. For ratios use
// cmd/bench, which alternates the implementations.
func Benchmark(b *testing.B) {
	for _, c := range Cases() {
		if c.Explicit {
			continue
		}
		b.Run(c.Name, func(b *testing.B) {
			for _, i := range c.Implementations {
				b.Run(i.Name, func(b *testing.B) { benchmark(b, c, i) })
			}
		})
	}
}

func benchmark(b *testing.B, c Case, i Implementation) {
	var rdb redis.UniversalClient
	payload := c.Payload
	if c.Redis {
		rdb = redistest.Shared(b).Client(b)
		payload = 100
	}
	i.Slow = 1
	t := newTrial(c, i, b.N, payload, rdb, redistest.Key(b))
	b.StopTimer()
	t.onStart, t.onStop = b.StartTimer, b.StopTimer
	if err := t.within(context.Background(), c, i); err != nil {
		b.Fatal(err)
	}
	if err := t.clean(context.Background()); err != nil {
		b.Fatal(err)
	}
	n := float64(b.N)
	b.ReportAllocs()
	b.ReportMetric(t.rate(), "msgs/s")
	b.ReportMetric(float64(t.used.mallocs)/n, "allocs/op")
	b.ReportMetric(float64(t.used.bytes)/n, "B/op")
	if len(t.Latencies) > 0 {
		b.ReportMetric(micros(t.percentile(50)), "p50-µs")
		b.ReportMetric(micros(t.percentile(99)), "p99-µs")
	}
}
