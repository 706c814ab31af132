package redisio

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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

const benchDepth, benchPipelines = 128, 4

func benchWrite(b *testing.B, size int, ours bool) {
	rdb := redistest.Shared(b).Client(b)
	key := redistest.Key(b)
	b.Cleanup(func() { rdb.Del(context.Background(), key) })
	payload := make([]byte, size)
	w := openWriter(b, rdb, WriterConfig{Key: key, Depth: benchDepth})
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range benchPipelines {
		wg.Go(func() {
			fields := Fields{{"data", payload}}
			out := make([]Outgoing, benchDepth)
			for i := range out {
				out[i].Fields = fields
			}
			results := make([]Result, benchDepth)
			for {
				n := min(benchDepth, b.N-int(next.Add(benchDepth))+benchDepth)
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

func BenchmarkReadAck(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("%dB/redisio", size), func(b *testing.B) { benchReadAck(b, size, true) })
		b.Run(fmt.Sprintf("%dB/goredis", size), func(b *testing.B) { benchReadAck(b, size, false) })
	}
}

func benchReadAck(b *testing.B, size int, ours bool) {
	rdb := redistest.Shared(b).Client(b)
	key := redistest.Key(b)
	b.Cleanup(func() { rdb.Del(context.Background(), key) })
	c := context.Background()
	w := openWriter(b, rdb, WriterConfig{Key: key, Pipelines: 4})
	out := make([]Outgoing, b.N)
	for i := range out {
		out[i].Fields = Fields{{"data", make([]byte, size)}}
	}
	if err := w.Write(c, out, make([]Result, b.N)); err != nil {
		b.Fatal(err)
	}
	rdb.XGroupCreate(c, key, "g", "0")
	acks := make(chan []string, 2)
	failed := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	bytes := 0
	if ours {
		r, err := NewGroupReader(rdb, GroupConfig{Key: key, Group: "g"})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Open(c); err != nil {
			b.Fatal(err)
		}
		defer r.Close(c)
		wg.Go(func() {
			for ids := range acks {
				if _, err := r.Ack(c, ids); err != nil {
					failed <- err
				}
			}
		})
		for n := 0; n < b.N; {
			var batch Batch
			if err := r.Read(c, 1000, 0, &batch); err != nil {
				b.Fatal(err)
			}
			for i := range batch.Entries {
				v, _ := batch.Entries[i].Fields.Get("data")
				bytes += len(v)
			}
			n += len(batch.Entries)
			acks <- entryIDs(batch.Entries)
		}
	} else {
		wg.Go(func() {
			for ids := range acks {
				if err := rdb.XAck(c, key, "g", ids...).Err(); err != nil {
					failed <- err
				}
			}
		})
		for n := 0; n < b.N; {
			streams, err := rdb.XReadGroup(c, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: 1000, Block: 1e9}).Result()
			if err != nil {
				b.Fatal(err)
			}
			ids := make([]string, len(streams[0].Messages))
			for i, m := range streams[0].Messages {
				bytes += len(m.Values["data"].(string))
				ids[i] = m.ID
			}
			n += len(ids)
			acks <- ids
		}
	}
	close(acks)
	wg.Wait()
	b.StopTimer()
	if len(failed) > 0 {
		b.Fatal(<-failed)
	}
	if p := rdb.XPending(c, key, "g").Val(); bytes != b.N*size || p.Count != 0 {
		b.Fatalf("%d bytes of %d, %d pending", bytes, b.N*size, p.Count)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func BenchmarkParse(b *testing.B) {
	var entries []Entry
	for i := range 1000 {
		entries = append(
			entries,
			Entry{ID: fmt.Sprintf("1732360000000-%d", i), Fields: Fields{{"data", make([]byte, 100)}}},
		)
	}
	raw := encode(entries, false)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		var batch Batch
		if err := parseStreams(raw, 1, &batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriteOptions compares what a writer can do beside writing with plain writes, which is
// the first line, in one run.
func BenchmarkWriteOptions(b *testing.B) {
	for _, o := range []struct {
		name   string
		cfg    WriterConfig
		script bool
	}{
		{"plain", WriterConfig{}, false},
		{"MaxLen", WriterConfig{MaxLen: 100_000}, false},
		{"MaxLen/unread", WriterConfig{MaxLen: 100_000}, false},
		{"DropUnread", WriterConfig{MaxLen: 100_000, DropUnread: true}, false},
		{"HardCap", WriterConfig{HardCap: 1e9}, false},
		{"once", WriterConfig{DedupeWindow: time.Minute}, false},
		{"once/script", WriterConfig{DedupeWindow: time.Minute}, true},
	} {
		b.Run(o.name, func(b *testing.B) {
			rdb := redistest.Shared(b).Client(b)
			o.cfg.Key, o.cfg.Depth = redistest.Key(b), benchDepth
			b.Cleanup(func() { rdb.Del(context.Background(), o.cfg.Key, onceKey(o.cfg.Key)) })
			if o.name == "MaxLen/unread" || o.cfg.DropUnread {
				grouped(b, rdb, o.cfg.Key, "g")
			}
			w := openWriter(b, rdb, o.cfg)
			w.idmp = w.idmp && !o.script
			payload := make([]byte, 100)
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range benchPipelines {
				wg.Go(func() {
					out, results := make([]Outgoing, benchDepth), make([]Result, benchDepth)
					for i := range out {
						out[i].Fields = Fields{{"data", payload}}
					}
					for {
						at := int(next.Add(benchDepth)) - benchDepth
						n := min(benchDepth, b.N-at)
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
