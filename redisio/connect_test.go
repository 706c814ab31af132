package redisio_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/probe"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

func TestConnect(t *testing.T) {
	s := redistest.Shared(t)
	rdb, err := redisio.Connect(rig.Ctx(t), s.URL()+"/3", redisio.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	if rdb.(*redis.Client).Options().DB != 3 {
		t.Error("database ignored")
	}
	for url, part := range map[string]string{
		"": "empty", "localhost:6379": "scheme", "http://x": "scheme", "redis://:secret@host:6379/x": "database",
		"redis://u:sec%zzret@host": "parsed", "redis://:secret@host?nonsense=1": "nonsense",
		"unix:///a,b?x=secret1":              "",
		"redis://:secret@a:1,b:2?nonsense=1": "nonsense", "redis://:secret@a:1?master_name=m&nonsense=1": "nonsense",
	} {
		_, err := redisio.Connect(rig.Ctx(t), url, redisio.ConnectOptions{})
		var c *redisio.ConfigError
		if !errors.As(err, &c) || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "secret@") ||
			strings.Contains(err.Error(), ":secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	took := redistest.Patience
	for try := 0; try < 5 && took > time.Second; try++ { // a busy machine may stop for some seconds
		start := time.Now()
		if _, err := redisio.Connect(rig.Ctx(t), "redis://:secret@127.0.0.1:1", redisio.ConnectOptions{}); err == nil ||
			strings.Contains(err.Error(), "secret") ||
			!strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Error(err)
		}
		took = time.Since(start)
	}
	if took > time.Second {
		t.Errorf("it fails after %v, want an error at once", took)
	}
	c, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := redisio.Connect(c, "redis://127.0.0.1:1", redisio.ConnectOptions{Wait: time.Minute}); !errors.Is(
		err,
		context.DeadlineExceeded,
	) {
		t.Error(err)
	}
	if _, err := redisio.Connect(rig.Ctx(t), s.URL(), redisio.ConnectOptions{Wait: -1, DialTimeout: -1}); err == nil {
		t.Error("bad options were fine")
	}
}

func TestConnectWaits(t *testing.T) {
	s := redistest.Start(t)
	s.Kill(t)
	back := time.AfterFunc(200*time.Millisecond, func() { s.Restart(t) })
	defer back.Stop()
	rdb, err := redisio.Connect(rig.Ctx(t), s.URL(), redisio.ConnectOptions{Wait: redistest.Patience})
	if err != nil {
		t.Fatal(err)
	}
	_ = rdb.Close()
}

// TestConnectionsThatBreakWhileOpening: a connection that is killed during the start is replaced,
// also without Wait.
func TestConnectionsThatBreakWhileOpening(t *testing.T) {
	t.Parallel()
	s := redistest.Shared(t)
	type opened interface{ Close(context.Context) error }
	for _, what := range []struct {
		name, command string
		open          func(redis.UniversalClient, string) (opened, error)
	}{
		{"group", "xgroup", func(rdb redis.UniversalClient, key string) (opened, error) {
			r, err := reader.NewGroup(rdb, reader.GroupConfig{Key: key, Group: "g"})
			return r, errors.Join(err, r.Open(rig.Ctx(t)))
		}},
		{"tail", "xrevrange", func(rdb redis.UniversalClient, key string) (opened, error) {
			r, err := reader.NewTail(rdb, reader.TailConfig{Key: key})
			return r, errors.Join(err, r.Open(rig.Ctx(t)))
		}},
		{"writer", "xlen", func(rdb redis.UniversalClient, key string) (opened, error) {
			w, err := writer.New(rdb, writer.Config{Key: key})
			return w, errors.Join(err, w.Open(rig.Ctx(t)))
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
				if err := is.Close(rig.Ctx(t)); err != nil {
					t.Error(err)
				}
			}
			p.Cut(redistest.CutReply, what.command, 1000) // for good
			if _, err := what.open(p.Client(t), key); err == nil || redisio.IsPermanent(err) {
				t.Errorf("opened by a line that never lets an answer through: %v", err)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	c, err := probe.Probe(rig.Ctx(t), rdb)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	if keys := rdb.Keys(rig.Ctx(t), "*").Val(); len(keys) != 0 {
		t.Errorf("left behind: %v", keys)
	}
	version := rdb.InfoMap(rig.Ctx(t), "server").Val()["Server"]["redis_version"]
	if strings.HasPrefix(version, "7.0.") && c != (redisio.Capabilities{}) {
		t.Errorf("%s has %+v", version, c)
	}
	down := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1, MaxRetries: -1})
	defer down.Close()
	if _, err := probe.Probe(rig.Ctx(t), down); err == nil {
		t.Error("no error")
	}
}

// The caller's client keeps its own settings, and our clients don't retry commands that must not be
// repeated.
func TestDerive(t *testing.T) {
	base := redis.NewClient(
		&redis.Options{Addr: "127.0.0.1:1", Password: "pw", DB: 2, MaxRetries: -1, MinIdleConns: 3, ReadTimeout: -1},
	)
	defer base.Close()
	c := conn.Derive(base, conn.Purpose{Conns: 2, ReadTimeout: time.Second})
	defer c.Release()
	o := c.UniversalClient.(*redis.Client).Options()
	if o.MaxRetries != 0 || o.MinIdleConns != 0 || o.PoolSize != 2 || o.ReadTimeout != time.Second ||
		o.Password != "pw" ||
		o.DB != 2 {
		t.Errorf("%+v", o)
	}
	control := conn.Derive(base, conn.Purpose{Conns: 2, Retries: true})
	defer control.Release()
	if o := control.UniversalClient.(*redis.Client).Options(); o.MaxRetries != 0 || o.ReadTimeout != 0 {
		t.Errorf("the caller's settings changed: retries %d, timeout %v", o.MaxRetries, o.ReadTimeout)
	}
	if o := base.Options(); o.PoolSize == 2 || o.MinIdleConns != 3 {
		t.Error("the caller's options were changed")
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	cc := conn.Derive(cluster, conn.Purpose{Conns: 2})
	defer cc.Release()
	if o := cc.Cluster.Options(); o.MaxRedirects != 0 || o.MaxRetries != -1 || !cc.Derived {
		t.Errorf("redirects %d, retries %d", o.MaxRedirects, o.MaxRetries)
	}
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	if other := conn.Derive(ring, conn.Purpose{}); other.Derived ||
		other.UniversalClient != redis.UniversalClient(ring) {
		t.Error("an unknown client is to be used as it is")
	}
}
