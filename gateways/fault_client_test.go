package gateways_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// While Redis hangs, all calls end at their deadline: the first one and those queued behind its
// write.
func TestFault_G5_CallsEndAtTheirDeadline(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	o := srv.Options()
	o.ReadTimeout = redistest.Patience // what waits for Redis ends much later than the calls
	rdb := redis.NewClient(o)
	t.Cleanup(func() { rdb.Close() })
	s := &rig.Stand{RDB: rdb, Topic: "topic"}
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
	connected := s.Client(t, gateways.ClientConfig{})
	call := gateways.Call[rig.Hello, rig.Greeting](connected, "hello", gateways.Timeout(redistest.Patience))
	if _, err := call(t.Context(), rig.Hello{Name: "Ada"}); err != nil {
		t.Fatal(err)
	}
	srv.Pause(t)
	for _, c := range []*gateways.Client{connected, s.Client(t, gateways.ClientConfig{})} {
		soon := gateways.Call[rig.Hello, rig.Greeting](c, "hello", gateways.Timeout(200*time.Millisecond))
		tell := gateways.Send[rig.Hello](c, "hello", gateways.Timeout(200*time.Millisecond))
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				var err error
				began := time.Now()
				if i%2 == 0 {
					_, err = soon(t.Context(), rig.Hello{Name: "Ada"})
				} else {
					err = tell(t.Context(), rig.Hello{Name: "Ada"})
				}
				if took := time.Since(began); !errors.Is(err, gateways.ErrTimeout) || took > redistest.Patience/2 {
					t.Errorf("after %v: %v", took, err)
				}
			})
		}
		wg.Wait()
	}
	srv.Resume(t)
	redistest.Soon(
		t,
		"calls are answered again",
		func() bool { _, err := call(t.Context(), rig.Hello{Name: "Ada"}); return err == nil },
	)
}

// While Redis is unavailable, calls fail at once, not at their deadline. They succeed again when it
// is back.
func TestFault_G5_RedisAwayIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	p := redistest.StartProxy(t, srv.Addr())
	s, near := &rig.Stand{RDB: p.Client(t), Topic: "topic"}, &rig.Stand{RDB: rig.Redis(t, srv), Topic: "topic"}
	near.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
	c := s.Client(t, gateways.ClientConfig{Timeout: redistest.Patience})
	call := gateways.Call[rig.Hello, rig.Greeting](c, "hello")
	h := web.HTTP(c, "hello")
	for range 2 {
		p.SetDown(true)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := call(t.Context(), rig.Hello{Name: "Ada"}); !errors.Is(err, gateways.ErrUnavailable) ||
					errors.Is(err, gateways.ErrTimeout) {
					t.Errorf("a call: %v", err)
				}
				if err := gateways.Send[rig.Hello](c, "hello")(t.Context(), rig.Hello{Name: "Ada"}); !errors.Is(
					err,
					gateways.ErrUnavailable,
				) {
					t.Errorf("a message: %v", err)
				}
				if got := rig.Ask(h, rig.Asked("GET", "/", "")); got.Status != http.StatusServiceUnavailable ||
					got.Header.Get("Retry-After") == "" {
					t.Errorf("by HTTP: %+v", got)
				}
			})
		}
		wg.Wait()
		p.SetDown(false)
		redistest.Soon(
			t,
			"calls are answered again",
			func() bool { _, err := call(t.Context(), rig.Hello{Name: "Ada"}); return err == nil },
		)
	}
}

// Requests fill a small server. Further requests are refused at once. Stored ones are answered,
// although no reply can be written at first, and then there is room again.
func TestFault_S1_OutOfMemory(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Args("--maxmemory", "30mb", "--maxmemory-policy", "noeviction"))
	s := &rig.Stand{RDB: rig.Redis(t, srv), Topic: "topic"}
	full := make(chan struct{})
	s.Serve(t, gateways.ServiceConfig{Timeout: redistest.Patience}, func(svc *gateways.Service) {
		gateways.Handle(svc, "len", func(ctx context.Context, v string) (int, error) {
			select {
			case <-full:
			case <-ctx.Done():
			}
			return len(v), ctx.Err()
		})
	})
	call := gateways.Call[string, int](s.Client(t, gateways.ClientConfig{Timeout: redistest.Patience}), "len")
	large := strings.Repeat("x", 1<<20-1000)
	const calls = 40
	var refused, answered atomic.Int32
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			switch _, err := call(t.Context(), large); {
			case err == nil:
				answered.Add(1)
			case errors.Is(err, gateways.ErrFull) && errors.Is(err, redisio.ErrBackpressure):
				refused.Add(1)
			default:
				t.Errorf("%v", err)
			}
		})
	}
	redistest.Soon(t, "calls are refused", func() bool { return refused.Load() >= 5 })
	close(full)
	wg.Wait()
	if refused.Load()+answered.Load() != calls || answered.Load() < 5 {
		t.Errorf("%d refused and %d answered", refused.Load(), answered.Load())
	}
	nothing := func() bool { return s.RDB.XLen(t.Context(), s.Topic).Val() == 0 }
	redistest.Soon(t, "nothing is left of them", nothing) // a request is settled behind its reply
	if _, err := call(t.Context(), large); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	redistest.Soon(t, "nothing is left of it", nothing)
}

// Answered requests take no memory in Redis, whatever their number.
func TestFault_S1_AnsweredRequestsAreGone(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Args("--maxmemory", "30mb", "--maxmemory-policy", "noeviction"))
	s := &rig.Stand{RDB: rig.Redis(t, srv), Topic: "topic"}
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "len", func(_ context.Context, v string) (int, error) { return len(v), nil })
		gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
	})
	c := s.Client(t, gateways.ClientConfig{Timeout: redistest.Patience})
	h := web.HTTP(c, "len", web.Accept("text/plain"))
	large := strings.Repeat("x", 1<<20-1000)
	few := func() { // on a busy machine they are deleted much later than they are answered
		t.Helper()
		redistest.Soon(t, "few requests and replies are left", func() bool {
			left := s.RDB.MemoryUsage(t.Context(), s.Topic, 0).Val()
			for _, mailbox := range s.RDB.Keys(t.Context(), "{topic}:reply:*").Val() {
				left += s.RDB.MemoryUsage(t.Context(), mailbox, 0).Val()
			}
			return left <= 8<<20
		})
	}
	for i := range 60 {
		few()
		got := rig.Ask(h, rig.Asked("POST", "/", large, "Content-Type: text/plain"))
		if got.Status != http.StatusOK {
			t.Fatalf("request %d: %+v", i, got)
		}
	}
	for i := range 60 { // replies are deleted after reading, too
		few()
		if _, err := gateways.Call[string, string](c, "echo")(t.Context(), large[:len(large)-1000]); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}
