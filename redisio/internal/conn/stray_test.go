package conn

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A replaced master that does not know it refuses writes and keeps its connections. New connections
// lead to the true master.
func TestLeavesAMasterThatWantsReplicas(t *testing.T) {
	old, now := redistest.Start(t), redistest.Start(t)
	admin, is := old.Client(t), now.Client(t)
	for how, write := range map[string]func(Client, string) error{
		"command": func(c Client, v string) error { return c.Set(rig.Ctx(t), "k", v, 0).Err() },
		"pipeline": func(c Client, v string) error { // its first error is a different one
			pipe := c.Pipeline()
			pipe.Get(rig.Ctx(t), "none")
			set := pipe.Set(rig.Ctx(t), "k", v, 0)
			_, _ = pipe.Exec(rig.Ctx(t))
			return set.Err()
		},
		"script": func(c Client, v string) error {
			return c.Eval(rig.Ctx(t), "return redis.call('SET', KEYS[1], ARGV[1])", []string{"k"}, v).Err()
		},
	} {
		t.Run(how, func(t *testing.T) {
			p, err := redistest.NewProxy(old.Addr(), redistest.ProxyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			rdb := redis.NewClient(&redis.Options{Addr: p.Addr(), ReadTimeout: redistest.Patience})
			t.Cleanup(func() { rdb.Close() })
			c := Derive(rdb, Purpose{Conns: 2})
			t.Cleanup(func() { c.Release() })
			admin.ConfigSet(rig.Ctx(t), "min-replicas-to-write", "0")
			if err := write(c, "1"); err != nil {
				t.Fatal(err)
			}
			admin.ConfigSet(rig.Ctx(t), "min-replicas-to-write", "1")
			p.Redirect(now.Addr())
			if err := write(c, "2"); err == nil || !fault.Says(err, "NOREPLICAS") {
				t.Fatal("the old one takes writes:", err)
			}
			if err := write(c, how); err != nil {
				t.Fatal("it did not leave:", err)
			}
			if got := is.Get(rig.Ctx(t), "k").Val(); got != how {
				t.Errorf("the new one has %q", got)
			}
		})
	}
}
