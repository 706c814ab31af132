package gateways_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
)

// BenchmarkCall compares a call with what one would write by hand for it with go-redis: one writer that sends what has come in
// one pipeline, one group reader that answers and acks in one pipeline, one reader of replies. Look at the ratio of
// ns/op, and of p50, of two lines with as many callers.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d/by=hand", callers), func(b *testing.B) {
			s := newStand(b)
			measure(b, callers, byHand(b, s))
		})
		b.Run(fmt.Sprintf("callers=%d/by=gateways", callers), func(b *testing.B) {
			s := newStand(b)
			s.serve(b, gateways.ServiceConfig{}, func(svc *gateways.Service) {
				gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
			})
			call := gateways.Call[string, string](s.client(b, gateways.ClientConfig{}), "echo")
			measure(b, callers, func(v string) (string, error) { return call(context.Background(), v) })
		})
	}
}

func measure(b *testing.B, callers int, call func(string) (string, error)) {
	if _, err := call("warm"); err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, callers)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			v := "value " + strconv.Itoa(i)
			for left.Add(-1) >= 0 {
				began := time.Now()
				if got, err := call(v); err != nil || got != v {
					b.Errorf("%q, %v", got, err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	if len(all) > 0 {
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	}
}

// byHand is the same without this project.
func byHand(b *testing.B, s *stand) func(string) (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	requests, replies := s.topic, s.topic+":replies"
	s.rdb.XGroupCreateMkStream(ctx, requests, "g", "0")
	var wg sync.WaitGroup
	b.Cleanup(func() { cancel(); wg.Wait() })

	// The service.
	wg.Go(func() {
		for ctx.Err() == nil {
			got, err := s.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{requests, ">"}, Count: 512,
				Block: time.Second}).Result()
			if err != nil {
				continue
			}
			pipe := s.rdb.Pipeline()
			ids := make([]string, 0, len(got[0].Messages))
			for _, m := range got[0].Messages {
				pipe.XAdd(ctx, &redis.XAddArgs{Stream: m.Values["reply"].(string), Values: []any{"id", m.Values["id"], "data", m.Values["data"]}})
				ids = append(ids, m.ID)
			}
			pipe.XAck(ctx, requests, "g", ids...)
			if _, err := pipe.Exec(ctx); err != nil && ctx.Err() == nil {
				b.Error(err)
			}
		}
	})
	// The client's reader.
	var mu sync.Mutex
	waiting := make(map[string]chan string)
	wg.Go(func() {
		for last := "0"; ctx.Err() == nil; {
			got, err := s.rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{replies, last}, Count: 512, Block: time.Second}).Result()
			if err != nil {
				continue
			}
			for _, m := range got[0].Messages {
				last = m.ID
				id := m.Values["id"].(string)
				mu.Lock()
				c := waiting[id]
				delete(waiting, id)
				mu.Unlock()
				if c != nil {
					c <- m.Values["data"].(string)
				}
			}
		}
	})
	// The client's writer.
	type request struct{ id, v string }
	out := make(chan request, 512)
	wg.Go(func() {
		for {
			var batch []request
			select {
			case r := <-out:
				batch = append(batch, r)
			case <-ctx.Done():
				return
			}
			for more := true; more && len(batch) < 512; {
				select {
				case r := <-out:
					batch = append(batch, r)
				default:
					more = false
				}
			}
			pipe := s.rdb.Pipeline()
			for _, r := range batch {
				pipe.XAdd(ctx, &redis.XAddArgs{Stream: requests, MaxLen: 10_000, Approx: true,
					Values: []any{"data", r.v, "type", "echo", "id", r.id, "reply", replies}})
			}
			if _, err := pipe.Exec(ctx); err != nil && ctx.Err() == nil {
				b.Error(err)
			}
		}
	})
	var next atomic.Int64
	return func(v string) (string, error) {
		id := strconv.FormatInt(next.Add(1), 36)
		c := make(chan string, 1)
		mu.Lock()
		waiting[id] = c
		mu.Unlock()
		out <- request{id, v}
		select {
		case v := <-c:
			return v, nil
		case <-time.After(10 * time.Second):
			return "", context.DeadlineExceeded
		}
	}
}
