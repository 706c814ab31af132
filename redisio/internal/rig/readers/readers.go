// Package readers opens readers in tests of other packages.
package readers

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// Open opens a reader that is closed with the test. Its events are recorded.
func Open(t *testing.T, rdb redis.UniversalClient, cfg reader.GroupConfig) (*reader.Group, *rig.Log) {
	t.Helper()
	l := &rig.Log{}
	cfg.OnEvent = l.Add
	check.Def(&cfg.Group, "g")
	check.Def(&cfg.Block, 50*time.Millisecond)
	check.Def(&cfg.DelayedEvery, -1)
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

// ReadNothing reads for d and fails if an entry comes.
func ReadNothing(t testing.TB, r *reader.Group, d time.Duration) {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var b redisio.Batch
	if err := r.Read(c, 10, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("read: %v with %v, want nothing to come", err, rig.IDs(b.Entries))
	}
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
	var all []redisio.Entry
	for {
		var b redisio.Batch
		if err := r.Read(rig.Ctx(t), 1000, 0, &b); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, b.Entries...)
	}
}
