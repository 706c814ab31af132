package source_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// belowBlock is a ReadTimeout that is shorter than a read blocks, and enough for a command.
const belowBlock = 250 * time.Millisecond

// TestEveryClient copies a stream with clients of all kinds, as callers create them, while
// connections are killed. The client belongs to the caller and still works at the end.
func TestEveryClient(t *testing.T) {
	t.Parallel()
	plain := func(change func(*redis.Options)) func(*testing.T) (redis.UniversalClient, []*redis.Options) {
		return func(t *testing.T) (redis.UniversalClient, []*redis.Options) {
			o := redistest.Start(t).Options()
			admin := *o
			change(o)
			return redis.NewClient(o), []*redis.Options{&admin}
		}
	}
	for name, dial := range map[string]func(*testing.T) (redis.UniversalClient, []*redis.Options){
		"RESP2":            plain(func(o *redis.Options) { o.Protocol = 2 }),
		"RESP3":            plain(func(o *redis.Options) { o.Protocol = 3 }),
		"another database": plain(func(o *redis.Options) { o.DB = 3 }),
		"a name":           plain(func(o *redis.Options) { o.ClientName = "billing" }),
		"one connection":   plain(func(o *redis.Options) { o.PoolSize = 1 }),
		"no retries":       plain(func(o *redis.Options) { o.MaxRetries = -1 }),
		"timeouts below Block": plain(func(o *redis.Options) {
			o.ReadTimeout, o.WriteTimeout = belowBlock, time.Second
		}),
		"no timeouts":         plain(func(o *redis.Options) { o.ReadTimeout, o.WriteTimeout = -1, -1 }),
		"timeouts by context": plain(func(o *redis.Options) { o.ContextTimeoutEnabled = true }),
		"a dialer of its own": plain(func(o *redis.Options) {
			addr, next := o.Addr, redis.NewDialer(o)
			o.Addr = "redis.invalid:1"
			o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return next(ctx, network, addr)
			}
		}),
		"a unix socket": func(t *testing.T) (redis.UniversalClient, []*redis.Options) {
			s := redistest.Start(t, redistest.UnixSocket())
			return redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket()}), []*redis.Options{s.Options()}
		},
		"TLS": func(t *testing.T) (redis.UniversalClient, []*redis.Options) {
			s := redistest.StartTLS(t)
			return redis.NewClient(s.Options()), []*redis.Options{s.Options()}
		},
		"a user": func(t *testing.T) (redis.UniversalClient, []*redis.Options) {
			s := redistest.Start(t)
			return s.User(t, "app", "~*", "+@all", "-@admin", "-@dangerous", "-client", "-keys", "-config", "+xinfo"),
				[]*redis.Options{s.Options()}
		},
		"a user with the least rights": func(t *testing.T) (redis.UniversalClient, []*redis.Options) {
			s := redistest.Start(t)
			rights := reader.GroupConfig{Key: "orders", Group: "g"}.Access("orders:dead").And(
				writer.Config{Key: "orders:out"}.Access(),
				admin.AccessToInspect("orders", "orders:out", "orders:dead")) // read by the test
			return s.User(t, "app", rights.Rules()...), []*redis.Options{s.Options()}
		},
		"credentials that change": func(t *testing.T) (redis.UniversalClient, []*redis.Options) {
			s := redistest.Start(t)
			var asked atomic.Int64
			o := s.Options()
			users := make([]*redis.Options, 2)
			for i := range users {
				var err error
				if users[i], err = s.NewUser(t.Context(), fmt.Sprint("app", i), "~*", "+@all"); err != nil {
					t.Fatal(err)
				}
			}
			o.CredentialsProviderContext = func(context.Context) (string, string, error) {
				u := users[asked.Add(1)%2]
				return u.Username, u.Password, nil
			}
			return redis.NewClient(o), []*redis.Options{s.Options()}
		},
		"a ring": func(t *testing.T) (redis.UniversalClient, []*redis.Options) {
			a, b := redistest.Start(t), redistest.Start(t)
			return redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": a.Addr(), "b": b.Addr()}}),
				[]*redis.Options{a.Options(), b.Options()}
		},
		"a client that wraps another": func(t *testing.T) (redis.UniversalClient, []*redis.Options) {
			s := redistest.Start(t)
			return struct{ redis.UniversalClient }{redis.NewClient(s.Options())}, []*redis.Options{s.Options()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, servers := dial(t)
			defer rdb.Close()
			l := newCopying(t, rdb, "orders")
			for range 3 {
				l.more(200)
				for _, o := range servers {
					admin := *o
					admin.Protocol = 2
					killer := redis.NewClient(&admin)
					if err := killer.Do(t.Context(), "client", "kill", "type", "normal", "skipme",
						"yes").Err(); err != nil {
						t.Error(err)
					}
					_ = killer.Close() // ours
				}
			}
			l.more(100)
			l.end(700)
			redistest.Soon(t, "the caller's client works", func() bool { return rdb.Ping(t.Context()).Err() == nil })
		})
	}
}

// TestSentinelFailover: the master dies twice during a run and its replica takes over. No written
// entry is lost, because the outputs wait for a replica.
func TestSentinelFailover(t *testing.T) {
	t.Parallel() // it mostly waits
	group := redistest.StartSentinel(
		t,
		2,
		redistest.Args("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"),
	)
	rdb := group.Client(t)
	l := newCopying(t, rdb, "orders")
	l.more(200)
	old, _, err := group.Failover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.more(200)
	old.Restart(t) // it is a replica now, and the group has two servers again
	l.more(100)
	l.end(500)
}

// TestCertificateThatNobodyKnows: an unknown certificate is reported at once.
func TestCertificateThatNobodyKnows(t *testing.T) {
	o := redistest.StartTLS(t).Options()
	o.TLSConfig.RootCAs = nil
	rdb := redis.NewClient(o)
	defer rdb.Close()
	src := source.Stream(rdb, source.StreamConfig[string]{Key: "orders", Group: "g"})
	err := flow.New("tls", flow.To(src, sink.Func(func(context.Context, string) error { return nil }))).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}

// copying copies a stream with a graph while values are added to it.
type copying struct {
	t   *testing.T
	rdb redis.UniversalClient
	key string
	run *flow.Running
	n   int // values added
}

func newCopying(t *testing.T, rdb redis.UniversalClient, key string) *copying {
	t.Helper()
	l := &copying{t: t, rdb: rdb, key: key}
	block := 20 * time.Millisecond
	if c, ok := rdb.(*redis.Client); ok && c.Options().ReadTimeout == belowBlock {
		block = belowBlock + 50*time.Millisecond
	}
	src := source.Stream(
		rdb,
		source.StreamConfig[string]{
			Key:   key,
			Group: "g",
			Tuning: reader.Tuning{
				Block: block,
				Lease: 2 * time.Second,
			},
			MaxInFlight: 64,
		},
	)
	to := sink.StreamConfig[string]{Key: key + ":out", Tuning: writer.Tuning{Depth: 16}}
	if strings.Contains(t.Name(), "Sentinel") {
		to.Durability, to.DedupeWindow = writer.Durability{Replicas: 1}, time.Minute
	}
	often := flow.Restarts(1000, time.Minute, time.Millisecond) // on a busy machine, short timeouts pass often
	run, err := flow.New("copy", unhurried(flow.To(src, sink.Stream(rdb, to)), often)...).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Stop() })
	l.run = run
	return l
}

// more adds n values, each until it is confirmed.
func (l *copying) more(n int) {
	l.t.Helper()
	for range n {
		v := fmt.Sprint(l.n)
		redistest.Soon(l.t, "value "+v+" is written", func() bool {
			pipe := l.rdb.Pipeline()
			add := pipe.XAdd(l.t.Context(), redistest.Entry(l.key, "data", v))
			_, err := pipe.Exec(l.t.Context())
			return err == nil && add.Val() != ""
		})
		l.n++
	}
}

// end waits until all values are copied, drains the graph, and checks that none is missing.
func (l *copying) end(n int) {
	t := l.t
	t.Helper()
	missing := func() (gone []int) {
		entries, err := l.rdb.XRange(context.Background(), l.key+":out", "-", "+").Result()
		if err != nil {
			return []int{-1}
		}
		seen := make(map[string]bool)
		for _, e := range entries {
			seen[e.Values["data"].(string)] = true
		}
		for i := range n {
			if !seen[fmt.Sprint(i)] {
				gone = append(gone, i)
			}
		}
		return gone
	}
	redistest.Soon(t, "all is copied", func() bool {
		select {
		case <-l.run.Done():
			t.Fatalf("the graph ended: %v", l.run.Wait())
		default:
		}
		return len(missing()) == 0
	})
	redistest.Soon(t, "all is acked", func() bool {
		groups, err := l.rdb.XInfoGroups(context.Background(), l.key).Result()
		return err == nil && len(groups) == 1 && groups[0].Pending+groups[0].Lag == 0
	})
	drain(t, l.run)
	if l.rdb.Exists(t.Context(), l.key+":dead").Val() != 0 {
		t.Error("there are dead letters because of the network")
	}
}
