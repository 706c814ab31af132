package reader

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// asynq and bullmq lost state to eviction, without a warning.
func TestEvictionIsWarnedOf(t *testing.T) {
	s := redistest.Start(t, redistest.Args("--maxmemory-policy", "allkeys-lru"))
	rdb := s.Client(t)
	if _, l := open(t, rdb, GroupConfig{Key: "k"}); l.Times(redisio.EventEvictable) != 1 {
		t.Fatalf("events %+v", l.Events)
	}
	if err := rdb.Do(rig.Ctx(t), "acl", "setuser", "weak", "on", ">pw", "~*", "+@all", "-info").Err(); err != nil {
		t.Fatal(err)
	}
	weak := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "weak", Password: "pw"})
	defer weak.Close()
	if _, l := open(t, weak, GroupConfig{Key: "k"}); len(l.Events) != 0 {
		t.Fatalf("events %+v", l.Events)
	}
	safe := redistest.Shared(t).Client(t)
	if _, l := open(t, safe, GroupConfig{Key: redistest.Key(t)}); len(l.Events) != 0 {
		t.Fatalf("events %+v", l.Events)
	}
}
