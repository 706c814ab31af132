package writer

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// The benchmarks come in pairs: ours, and the best loop one can write by hand with go-redis' typed
// commands. Compare the two of one run only.

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("%dB/redisio", size), func(b *testing.B) { benchWrite(b, size, true) })
		b.Run(fmt.Sprintf("%dB/goredis", size), func(b *testing.B) { benchWrite(b, size, false) })
	}
}

func benchWrite(b *testing.B, size int, ours bool) {
	rdb := redistest.Shared(b).Client(b)
	key := redistest.Key(b)
	b.Cleanup(func() { rdb.Del(context.Background(), key) })
	payload := make([]byte, size)
	w := openWriter(b, rdb, Config{Key: key, Tuning: Tuning{Depth: rig.BenchDepth}})
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range rig.BenchPipelines {
		wg.Go(func() {
			fields := redisio.Fields{{Name: "data", Value: payload}}
			out := make([]redisio.Outgoing, rig.BenchDepth)
			for i := range out {
				out[i].Fields = fields
			}
			results := make([]redisio.Result, rig.BenchDepth)
			for {
				n := min(rig.BenchDepth, b.N-int(next.Add(rig.BenchDepth))+rig.BenchDepth)
				if n <= 0 {
					return
				}
				if ours {
					if err := w.Write(context.Background(), out[:n], results); err != nil {
						b.Error(err)
						return
					}
					continue
				}
				pipe := rdb.Pipeline()
				for range n {
					pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: key, Values: []any{"data", payload}})
				}
				if _, err := pipe.Exec(context.Background()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if n := rdb.XLen(context.Background(), key).Val(); n != int64(b.N) {
		b.Fatalf("%d entries, want %d", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkWriteOptions compares the options of a writer with plain writes, the first line, in one
// run.
func BenchmarkWriteOptions(b *testing.B) {
	for _, o := range []struct {
		name   string
		cfg    Config
		script bool
	}{
		{"plain", Config{}, false},
		{"MaxLen", Config{MaxLen: 100_000}, false},
		{"MaxLen/unread", Config{MaxLen: 100_000}, false},
		{"DropUnread", Config{MaxLen: 100_000, Tuning: Tuning{DropUnread: true}}, false},
		{"HardCap", Config{Tuning: Tuning{HardCap: 1e9}}, false},
		{"once", Config{DedupeWindow: time.Minute}, false},
		{"once/script", Config{DedupeWindow: time.Minute}, true},
	} {
		b.Run(o.name, func(b *testing.B) {
			rdb := redistest.Shared(b).Client(b)
			o.cfg.Key, o.cfg.Depth = redistest.Key(b), rig.BenchDepth
			b.Cleanup(func() { rdb.Del(context.Background(), o.cfg.Key, onceKey(o.cfg.Key)) })
			if o.name == "MaxLen/unread" || o.cfg.DropUnread {
				rig.Grouped(b, rdb, o.cfg.Key, "g")
			}
			w := openWriter(b, rdb, o.cfg)
			w.idmp = w.idmp && !o.script
			payload := make([]byte, 100)
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range rig.BenchPipelines {
				wg.Go(func() {
					out, results := make([]redisio.Outgoing, rig.BenchDepth), make([]redisio.Result, rig.BenchDepth)
					for i := range out {
						out[i].Fields = redisio.Fields{{Name: "data", Value: payload}}
					}
					for {
						at := int(next.Add(rig.BenchDepth)) - rig.BenchDepth
						n := min(rig.BenchDepth, b.N-at)
						if n <= 0 {
							return
						}
						for i := range n {
							out[i].DedupeID = strconv.Itoa(at + i)
						}
						if err := w.Write(context.Background(), out[:n], results); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
