package gateways_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// stand is a topic of its own on the shared server.
type stand struct {
	rdb   *redis.Client
	topic string
}

func newStand(t testing.TB) *stand {
	return &stand{redistest.Shared(t).Client(t), redistest.Key(t)}
}

// serve runs a service until the test ends. Handlers are registered by the function.
func (s *stand) serve(t testing.TB, cfg gateways.ServiceConfig, register func(*gateways.Service)) *gateways.Service {
	t.Helper()
	svc := gateways.NewService(s.rdb, s.topic, cfg)
	register(svc)
	start(t, svc.Graph())
	return svc
}

func start(t testing.TB, g *flow.Graph) *flow.Running {
	t.Helper()
	run, err := g.Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if _, err := run.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
	ready(t, run)
	return run
}

// ready waits until a graph has opened all it reads and writes.
func ready(t testing.TB, run *flow.Running) {
	t.Helper()
	redistest.Soon(t, "the graph is ready", func() bool { return run.Ready() == nil })
}

// client is a client that refuses nothing on a busy machine, unless MaxWait says so.
func (s *stand) client(t testing.TB, cfg gateways.ClientConfig) *gateways.Client {
	t.Helper()
	if cfg.MaxWait == 0 {
		cfg.MaxWait = -1
	}
	c := gateways.NewClient(s.rdb, s.topic, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := c.Close(ctx); err != nil && !errors.Is(err, gateways.ErrClosed) {
			t.Errorf("close client: %v", err)
		}
	})
	return c
}

// late makes calls of a type that nobody answers, until one was sent before its time was over, and
// returns how many requests the stream has then.
func (s *stand) late(t testing.TB, c *gateways.Client, typ, key string) uint64 {
	t.Helper()
	for timeout := 20 * time.Millisecond; ; timeout *= 2 {
		if _, err := gateways.Call[string, string](c, typ, gateways.Timeout(timeout))(t.Context(), "x"); !errors.Is(
			err,
			gateways.ErrTimeout,
		) {
			t.Fatal(err)
		}
		if n := s.rdb.XLen(t.Context(), key).Val(); n > 0 {
			<-time.After(timeout) // the limit counts from when Redis took the request
			return uint64(n)
		}
	}
}

// pending is how many requests the service has and has not settled.
func (s *stand) pending(t testing.TB) int64 {
	t.Helper()
	p, err := s.rdb.XPending(t.Context(), s.topic, "service").Result()
	if err != nil {
		t.Fatal(err)
	}
	return p.Count
}
