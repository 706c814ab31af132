package reader

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// faststream saw 1,650 commands per second under a permanent error. The steps of
// the backoff bound what a reader sends, for each kind of error.
func TestRateUnderPermanentErrors(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(c context.Context, t *testing.T, admin *redis.Client, p *rig.Proxy){
		"WRONGTYPE": func(c context.Context, _ *testing.T, admin *redis.Client, _ *rig.Proxy) {
			admin.Set(c, "k", "no stream", 0)
		},
		"NOPERM": func(c context.Context, t *testing.T, admin *redis.Client, _ *rig.Proxy) {
			if err := admin.Do(c, "acl", "setuser", "default", "-xreadgroup", "-xautoclaim",
				"-xread").Err(); err != nil {
				t.Fatal(err)
			}
		},
		"connection refused": func(_ context.Context, _ *testing.T, _ *redis.Client, p *rig.Proxy) { p.SetDown(true) },
		"NOGROUP again and again": func(c context.Context, _ *testing.T, admin *redis.Client, _ *rig.Proxy) {
			go func() {
				for c.Err() == nil {
					admin.XGroupDestroy(c, "k", "g")
				}
			}()
		},
	} {
		for what, reader := range map[string]func(t *testing.T, rdb redis.UniversalClient) reader{
			"group": func(t *testing.T, rdb redis.UniversalClient) reader {
				r, _ := open(t, rdb, GroupConfig{Key: "k"})
				return r
			},
			"busy group": func(t *testing.T, rdb redis.UniversalClient) reader { // it has entries to look after
				want := rig.Add(t, rdb, "k", 4)
				r, _ := open(t, rdb, GroupConfig{Key: "k"})
				rig.Read(t, r, 4)
				if err := errors.Join(r.Nack(rig.Ctx(t), want[:1], time.Minute),
					r.Release(rig.Ctx(t), want[1:2])); err != nil {
					t.Fatal(err)
				}
				return r
			},
			"tail": func(t *testing.T, rdb redis.UniversalClient) reader {
				return openTail(t, rdb, TailConfig{Key: "k", Start: redisio.StartEnd()})
			},
		} {
			t.Run(what+"/"+name, func(t *testing.T) { rate(t, reader, breakIt) })
		}
	}
}

// reader has the methods of all readers.
type reader interface {
	Read(context.Context, int, int64, *redisio.Batch) error
}

func rate(
	t *testing.T,
	reader func(*testing.T, redis.UniversalClient) reader,
	breakIt func(context.Context, *testing.T, *redis.Client, *rig.Proxy),
) {
	s := redistest.Start(t)
	admin := s.Client(t)
	p := rig.NewProxy(t, s.Addr())
	r := reader(t, p.Client(t))
	all, cancel := context.WithCancel(rig.Ctx(t))
	defer cancel()
	breakIt(all, t, admin, p)
	c, stop := context.WithTimeout(all, time.Second)
	defer stop()
	start, before := time.Now(), p.Requests()
	reads := 0
	for c.Err() == nil {
		var b redisio.Batch
		if err := r.Read(c, 1, 0, &b); err == nil {
			t.Fatalf("read %v", entryIDs(b.Entries))
		}
		reads++
	}
	steps, at := 0, time.Duration(0)
	for at < time.Since(start) { // the shortest that the jitter allows
		steps++
		at += min(fault.FirstBackoff<<min(steps-1, 9), fault.MaxBackoff) / 2
	}
	// A round is a read, the commands that heal the group, and new connections: a dozen requests.
	if n := p.Requests() - before; reads > 5*steps || n > 5*12*steps {
		t.Fatalf("%d reads and %d requests in %d steps", reads, n, steps)
	} else {
		t.Logf("%d reads and %d requests in %d steps", reads, n, steps)
	}
}
