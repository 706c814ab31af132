package redisio

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestConnect(t *testing.T) {
	s := redistest.Shared(t)
	rdb, err := Connect(ctx(t), s.URL()+"/3", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	if rdb.(*redis.Client).Options().DB != 3 {
		t.Error("database ignored")
	}
	for url, part := range map[string]string{
		"": "empty", "localhost:6379": "scheme", "http://x": "scheme", "redis://:secret@host:6379/x": "database",
		"redis://u:sec%zzret@host": "parsed", "redis://:secret@host?nonsense=1": "nonsense", "unix:///a,b?x=secret1": "",
		"redis://:secret@a:1,b:2?nonsense=1": "nonsense", "redis://:secret@a:1?master_name=m&nonsense=1": "nonsense",
	} {
		_, err := Connect(ctx(t), url, ConnectOptions{})
		var c *ConfigError
		if !errors.As(err, &c) || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "secret@") ||
			strings.Contains(err.Error(), ":secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	start := time.Now()
	if _, err := Connect(ctx(t), "redis://:secret@127.0.0.1:1", ConnectOptions{}); err == nil ||
		time.Since(start) > time.Second ||
		strings.Contains(err.Error(), "secret") ||
		!strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	c, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := Connect(c, "redis://127.0.0.1:1", ConnectOptions{Wait: time.Minute}); !errors.Is(
		err,
		context.DeadlineExceeded,
	) {
		t.Error(err)
	}
	if _, err := Connect(ctx(t), s.URL(), ConnectOptions{Wait: -1, DialTimeout: -1}); err == nil {
		t.Error("bad options were fine")
	}
}

func TestConnectWaits(t *testing.T) {
	s := redistest.Start(t)
	s.Kill(t)
	back := time.AfterFunc(200*time.Millisecond, func() { s.Restart(t) })
	defer back.Stop()
	rdb, err := Connect(ctx(t), s.URL(), ConnectOptions{Wait: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_ = rdb.Close()
}

// TestConnectionsThatBreakWhileOpening: nobody has to set Wait for a connection that somebody kills
// in the moment of the start.
func TestConnectionsThatBreakWhileOpening(t *testing.T) {
	t.Parallel()
	s := redistest.Shared(t)
	type opened interface{ Close(context.Context) error }
	for _, what := range []struct {
		name, command string
		open          func(redis.UniversalClient, string) (opened, error)
	}{
		{"group", "xgroup", func(rdb redis.UniversalClient, key string) (opened, error) {
			r, err := NewGroupReader(rdb, GroupConfig{Key: key, Group: "g"})
			return r, errors.Join(err, r.Open(ctx(t)))
		}},
		{"tail", "xrevrange", func(rdb redis.UniversalClient, key string) (opened, error) {
			r, err := NewTailReader(rdb, TailConfig{Key: key})
			return r, errors.Join(err, r.Open(ctx(t)))
		}},
		{"writer", "xlen", func(rdb redis.UniversalClient, key string) (opened, error) {
			w, err := NewWriter(rdb, WriterConfig{Key: key})
			return w, errors.Join(err, w.Open(ctx(t)))
		}},
	} {
		t.Run(what.name, func(t *testing.T) {
			p, key := redistest.StartProxy(t, s.Addr()), redistest.Key(t)
			for i, how := range []redistest.Cut{redistest.CutRequest, redistest.CutReply, redistest.CutHalfReply} {
				p.Cut(how, what.command, 1)
				is, err := what.open(p.Client(t), key)
				if n := p.Counts().Cuts[how]; n != 1 {
					t.Fatalf("%d cuts by %q, not 1", n, what.command)
				}
				if err != nil {
					t.Fatalf("cut %d: %v", i, err)
				}
				if err := is.Close(ctx(t)); err != nil {
					t.Error(err)
				}
			}
			p.Cut(redistest.CutReply, what.command, 1000) // for good
			if _, err := what.open(p.Client(t), key); err == nil || IsPermanent(err) {
				t.Errorf("opened by a line that never lets an answer through: %v", err)
			}
		})
	}
}

func TestSplitHosts(t *testing.T) {
	for in, want := range map[string]string{
		"redis://a:1":                 "redis://a:1 []",
		"redis://a:1,b:2,c:3/0?x=1,2": "redis://a:1/0?x=1,2 [b:2 c:3]",
		"redis://u:p,w@a:1,b:2":       "redis://u:p,w@a:1 [b:2]",
		"unix:///tmp/a,b":             "unix:///tmp/a,b []",
	} {
		first, more := splitHosts(in)
		if got := first + " [" + strings.Join(more, " ") + "]"; got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	rdb, _, err := clientFor("redis://a:1,b:2", ConnectOptions{})
	if c, ok := rdb.(*redis.ClusterClient); err != nil || !ok || len(c.Options().Addrs) != 2 {
		t.Errorf("%T, %v", rdb, err)
	}
	_ = rdb.Close()
}

func TestProbe(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	c, err := Probe(ctx(t), rdb)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	if keys := rdb.Keys(ctx(t), "*").Val(); len(keys) != 0 {
		t.Errorf("left behind: %v", keys)
	}
	version := rdb.InfoMap(ctx(t), "server").Val()["Server"]["redis_version"]
	if strings.HasPrefix(version, "7.0.") && c != (Capabilities{}) {
		t.Errorf("%s has %+v", version, c)
	}
	down := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1, MaxRetries: -1})
	defer down.Close()
	if _, err := Probe(ctx(t), down); err == nil {
		t.Error("no error")
	}
}

// The caller's client keeps its own settings, and ours don't retry what must not be repeated.
func TestDerive(t *testing.T) {
	base := redis.NewClient(
		&redis.Options{Addr: "127.0.0.1:1", Password: "pw", DB: 2, MaxRetries: -1, MinIdleConns: 3, ReadTimeout: -1},
	)
	defer base.Close()
	c := derive(base, purpose{conns: 2, readTimeout: time.Second})
	defer c.close()
	o := c.UniversalClient.(*redis.Client).Options()
	if o.MaxRetries != 0 || o.MinIdleConns != 0 || o.PoolSize != 2 || o.ReadTimeout != time.Second ||
		o.Password != "pw" ||
		o.DB != 2 {
		t.Errorf("%+v", o)
	}
	control := derive(base, purpose{conns: 2, retries: true})
	defer control.close()
	if o := control.UniversalClient.(*redis.Client).Options(); o.MaxRetries != 0 || o.ReadTimeout != 0 {
		t.Errorf("the caller's settings changed: retries %d, timeout %v", o.MaxRetries, o.ReadTimeout)
	}
	if o := base.Options(); o.PoolSize == 2 || o.MinIdleConns != 3 {
		t.Error("the caller's options were changed")
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	cc := derive(cluster, purpose{conns: 2})
	defer cc.close()
	if o := cc.cluster.Options(); o.MaxRedirects != 0 || o.MaxRetries != -1 || !cc.derived {
		t.Errorf("redirects %d, retries %d", o.MaxRedirects, o.MaxRetries)
	}
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	if other := derive(ring, purpose{}); other.derived || other.UniversalClient != redis.UniversalClient(ring) {
		t.Error("an unknown client is to be used as it is")
	}
}

func TestConnectErrorHidesPasswordsOfTheQuery(t *testing.T) {
	rdb, where, err := clientFor("redis://user:hush1@127.0.0.1:1?master_name=m&password=hush2", ConnectOptions{})
	if err != nil || strings.Contains(where, "hush") || !strings.Contains(where, "127.0.0.1:1") {
		t.Fatalf("%q, %v", where, err)
	}
	if err := rdb.Close(); err != nil {
		t.Fatal(err)
	}
}
