package redisio

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// asynq and bullmq lost state to eviction, which nobody had looked for.
func TestEvictionIsWarnedOf(t *testing.T) {
	s := redistest.Start(t, redistest.Args("--maxmemory-policy", "allkeys-lru"))
	rdb := s.Client(t)
	if _, l := open(t, rdb, GroupConfig{Key: "k"}); l.times(EventEvictable) != 1 {
		t.Fatalf("events %+v", l.events)
	}
	if err := rdb.Do(ctx(t), "acl", "setuser", "weak", "on", ">pw", "~*", "+@all", "-info").Err(); err != nil {
		t.Fatal(err)
	}
	weak := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "weak", Password: "pw"})
	defer weak.Close()
	if _, l := open(t, weak, GroupConfig{Key: "k"}); len(l.events) != 0 {
		t.Fatalf("events %+v", l.events)
	}
	safe := redistest.Shared(t).Client(t)
	if _, l := open(t, safe, GroupConfig{Key: redistest.Key(t)}); len(l.events) != 0 {
		t.Fatalf("events %+v", l.events)
	}
}
