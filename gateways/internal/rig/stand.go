package rig

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
)

// Wired is a stand with services and clients that speak over a wire.
type Wired struct {
	*Stand
	Wire gateways.Wire
}

// OnBothWires runs a test over this project's own wire, and over the wire of streamerson v1.
func OnBothWires(t *testing.T, test func(t *testing.T, w Wired)) {
	for name, wire := range map[string]gateways.Wire{"native": nil, "v1": gateways.StreamersonV1{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, Wired{NewStand(t), wire})
		})
	}
}

func (w Wired) Serve(t testing.TB, cfg gateways.ServiceConfig, register func(*gateways.Service)) *gateways.Service {
	cfg.Wire = w.Wire
	return w.Stand.Serve(t, cfg, register)
}

func (w Wired) Client(t testing.TB) *gateways.Client {
	return w.Stand.Client(t, gateways.ClientConfig{Wire: w.Wire})
}

// Requests returns the key of the requests.
func (w Wired) Requests() string {
	if w.Wire == nil {
		return w.Topic
	}
	return w.V1().Incoming()
}

func (w Wired) Settled(t testing.TB) {
	t.Helper()
	redistest.Soon(t, "all requests are settled", func() bool {
		groups := w.RDB.XInfoGroups(t.Context(), w.Requests()).Val()
		return len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
	})
}

// Pairs returns the fields of a native entry.
func Pairs(flat []string) map[string]string {
	m := make(map[string]string)
	for p := range slices.Chunk(flat, 2) {
		m[p[0]] = p[1]
	}
	return m
}

// LockedBuffer is a log that several goroutines write to.
type LockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *LockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *LockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Stand is a topic for one test on the shared server.
type Stand struct {
	RDB   *redis.Client
	Topic string
}

func NewStand(t testing.TB) *Stand { return &Stand{Redis(t, redistest.Shared(t)), redistest.Key(t)} }

// Patient makes clients wait long for a server. With the defaults of go-redis a client on a busy machine gives up
// after 3 s and repeats its work: then entries are written twice, or calls fail with ErrUnavailable.
func Patient(o *redis.Options) *redis.Options {
	o.DialTimeout, o.ReadTimeout = redistest.Patience/4, redistest.Patience/4
	return o
}

// Redis returns a patient client of a server.
func Redis(t testing.TB, srv *redistest.Server) *redis.Client {
	rdb := redis.NewClient(Patient(srv.Options()))
	t.Cleanup(func() { _ = rdb.Close() }) // the test may have closed it
	return rdb
}

// Unsure returns the stand for clients of a topic without a service. They may not look for processes, and so assume
// that one exists. Otherwise calls that take longer than two seconds would fail with ErrNoService, and leave the
// stream.
func (s *Stand) Unsure(t testing.TB) *Stand {
	t.Helper()
	pipe := s.RDB.TxPipeline()
	pipe.XGroupCreateMkStream(t.Context(), s.Topic, "service", "0")
	pipe.XGroupCreateConsumer(t.Context(), s.Topic, "service", "unknown")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	o, err := redistest.Shared(t).NewUser(t.Context(), s.Topic, "~*", "&*", "+@all", "-xinfo|consumers")
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(Patient(o))
	t.Cleanup(func() {
		_ = rdb.Close()
		s.RDB.Do(context.Background(), "acl", "deluser", s.Topic)
	})
	return &Stand{RDB: rdb, Topic: s.Topic}
}

// Serve runs a service until the test ends. The function registers its handlers.
func (s *Stand) Serve(t testing.TB, cfg gateways.ServiceConfig, register func(*gateways.Service)) *gateways.Service {
	t.Helper()
	svc := gateways.NewService(s.RDB, s.Topic, cfg)
	register(svc)
	Start(t, svc.Graph())
	return svc
}

func Start(t testing.TB, g *flow.Graph) *flow.Running {
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
	Ready(t, run)
	return run
}

// Ready waits until a graph has opened all it reads and writes.
func Ready(t testing.TB, run *flow.Running) {
	t.Helper()
	redistest.Soon(t, "the graph is ready", func() bool { return run.Ready() == nil })
}

// Client returns a client that refuses no calls on a busy machine, unless MaxWait is set.
func (s *Stand) Client(t testing.TB, cfg gateways.ClientConfig) *gateways.Client {
	t.Helper()
	if cfg.MaxWait == 0 {
		cfg.MaxWait = -1
	}
	if cfg.Timeout == 0 { // calls time out on a busy machine after the default
		cfg.Timeout = redistest.Patience / 4
	}
	c := gateways.NewClient(s.RDB, s.Topic, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := c.Close(ctx); err != nil && !errors.Is(err, gateways.ErrClosed) {
			t.Errorf("close client: %v", err)
		}
	})
	return c
}

// Late makes calls of a type without a handler until one is sent before its timeout. It returns how many requests the
// stream then has, when all of them have expired.
func (s *Stand) Late(t testing.TB, cfg gateways.ClientConfig, typ, key string) uint64 {
	t.Helper()
	c := s.Client(t, cfg)
	for timeout := 20 * time.Millisecond; ; timeout *= 2 {
		if _, err := gateways.Call[string, string](c, typ, gateways.Timeout(timeout))(t.Context(), "x"); !errors.Is(
			err,
			gateways.ErrTimeout,
		) {
			t.Fatal(err)
		}
		if s.RDB.XLen(t.Context(), key).Val() == 0 {
			continue
		}
		if err := c.Close(t.Context()); err != nil { // no request is on its way any more
			t.Fatal(err)
		}
		n := s.RDB.XLen(t.Context(), key).Val()
		<-time.After(timeout) // the limit counts from when Redis took the request
		return uint64(n)
	}
}

// Pending returns how many requests the service has taken but not settled.
func (s *Stand) Pending(t testing.TB) int64 {
	t.Helper()
	p, err := s.RDB.XPending(t.Context(), s.Topic, "service").Result()
	if err != nil {
		t.Fatal(err)
	}
	return p.Count
}

type Hello struct{ Name string }

type Greeting struct{ Text string }

func Greet(_ context.Context, h Hello) (Greeting, error) {
	switch h.Name {
	case "":
		return Greeting{}, gateways.Errorf(gateways.CodeInvalid, "who is it?")
	case "secret":
		return Greeting{}, errors.New("the password is 1234")
	case "panic":
		panic("boom")
	}
	return Greeting{"hello " + h.Name}, nil
}

func Flat(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range many.Unwrap() {
			all = append(all, Flat(e)...)
		}
		return all
	}
	return []error{err}
}

// V1 returns the stand's topic with the keys of streamerson for Node.
func (s *Stand) V1() streamersonv1.Topic { return streamersonv1.Topic{Namespace: s.Topic} }

// Slots returns the entries of a stream as flat lists.
func (s *Stand) Slots(t testing.TB, key string) (all [][]string) {
	t.Helper()
	entries, err := s.RDB.Do(t.Context(), "xrange", key, "-", "+").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var one []string
		for _, v := range e.([]any)[1].([]any) {
			one = append(one, v.(string))
		}
		all = append(all, one)
	}
	return all
}

// ServeV1 runs a service over v1 and waits for its group, which begins at the end.
func (s *Stand) ServeV1(t testing.TB, wire gateways.StreamersonV1, register func(*gateways.Service)) *gateways.Service {
	t.Helper()
	return s.Serve(t, gateways.ServiceConfig{Wire: wire}, register)
}
