package reader

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/writers"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

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
	w := writers.Open(b, rdb, writer.Config{Key: key, Tuning: writer.Tuning{Pipelines: 4}})
	out := make([]redisio.Outgoing, b.N)
	for i := range out {
		out[i].Fields = redisio.Fields{{Name: "data", Value: make([]byte, size)}}
	}
	if err := w.Write(c, out, make([]redisio.Result, b.N)); err != nil {
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
		r, err := NewGroup(rdb, GroupConfig{Key: key, Group: "g"})
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
			var batch redisio.Batch
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
			streams, err := rdb.XReadGroup(c,
				&redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: 1000,
					Block: 1e9}).Result()
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
