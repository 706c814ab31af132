package redisio

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// meter counts what is sent, and connections that are refused.
type meter struct {
	requests atomic.Int64
	down     atomic.Bool
}

func (m *meter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	m.requests.Add(1)
	if m.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return metered{conn, m}, err
}

type metered struct {
	net.Conn
	m *meter
}

func (c metered) Write(b []byte) (int, error) {
	c.m.requests.Add(1)
	if c.m.down.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// faststream saw 1,650 commands per second under a permanent error. Whatever goes wrong, what a reader sends is bounded by
// the steps of its backoff.
func TestRateUnderPermanentErrors(t *testing.T) {
	for name, breakIt := range map[string]func(c context.Context, t *testing.T, admin *redis.Client, line *meter){
		"WRONGTYPE": func(c context.Context, _ *testing.T, admin *redis.Client, _ *meter) {
			admin.Set(c, "k", "no stream", 0)
		},
		"NOPERM": func(c context.Context, t *testing.T, admin *redis.Client, _ *meter) {
			if err := admin.Do(c, "acl", "setuser", "default", "-xreadgroup", "-xautoclaim").Err(); err != nil {
				t.Fatal(err)
			}
		},
		"connection refused": func(_ context.Context, _ *testing.T, _ *redis.Client, line *meter) { line.down.Store(true) },
		"NOGROUP again and again": func(c context.Context, _ *testing.T, admin *redis.Client, _ *meter) {
			go func() {
				for c.Err() == nil {
					admin.XGroupDestroy(c, "k", "g")
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			admin := s.Client(t)
			line := &meter{}
			rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Dialer: line.dial})
			defer rdb.Close()
			r, _ := open(t, rdb, GroupConfig{Key: "k"})
			c, cancel := context.WithTimeout(ctx(t), time.Second)
			defer cancel()
			breakIt(c, t, admin, line)
			start, before := time.Now(), line.requests.Load()
			reads := 0
			for c.Err() == nil {
				var b Batch
				if err := r.Read(c, 1, 0, &b); err == nil {
					t.Fatalf("read %v", entryIDs(b.Entries))
				}
				reads++
			}
			steps, at := 0, time.Duration(0)
			for at < time.Since(start) { // the shortest that the jitter allows
				steps++
				at += min(firstBackoff<<min(steps-1, 9), maxBackoff) / 2
			}
			// A round is a read, what heals the group, and connections that had to be made: a dozen requests.
			if n := line.requests.Load() - before; reads > 5*steps || n > int64(5*12*steps) {
				t.Fatalf("%d reads and %d requests in %d steps", reads, n, steps)
			} else {
				t.Logf("%d reads and %d requests in %d steps", reads, n, steps)
			}
		})
	}
}
