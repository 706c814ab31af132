// Package readers opens readers in tests of other packages.
package readers

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Open opens a reader that is closed with the test. Its events are recorded.
func Open(t *testing.T, rdb redis.UniversalClient, cfg reader.GroupConfig) (*reader.Group, *rig.Log) {
	t.Helper()
	l := &rig.Log{}
	cfg.OnEvent = l.Add
	cfg.Group = cmp.Or(cfg.Group, "g")
	cfg.Block = cmp.Or(cfg.Block, 50*time.Millisecond)
	cfg.DelayedEvery = cmp.Or(cfg.DelayedEvery, -1)
	cfg.Wait = cmp.Or(cfg.Wait, redistest.Patience) // a busy machine may stop the server for some seconds
	r, err := reader.NewGroup(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.Close(c) // the server may be gone by now
	})
	return r, l
}

// All reads a whole stream.
func All(t *testing.T, rdb redis.UniversalClient, key string) []redisio.Entry {
	t.Helper()
	r, err := reader.NewRange(rdb, reader.RangeConfig{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	return rig.ReadAll(t, r)
}
