package reader

import (
	"cmp"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

// open opens a reader that is closed with the test. Its events and lost ids are recorded.
func open(t *testing.T, rdb redis.UniversalClient, cfg GroupConfig) (*Group, *rig.Log) {
	t.Helper()
	l := &rig.Log{}
	cfg.OnEvent = l.Add
	cfg.Group = cmp.Or(cfg.Group, "g")
	cfg.Block = cmp.Or(cfg.Block, 50*time.Millisecond)
	cfg.DelayedEvery = cmp.Or(cfg.DelayedEvery, -1)
	cfg.Wait = cmp.Or(cfg.Wait, redistest.Patience)
	r, err := NewGroup(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.turn = new(turnOfOne) // parallel tests are not one process
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

// readNothing reads for d and fails if something comes.
func readNothing(t testing.TB, r *Group, d time.Duration) {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var b redisio.Batch
	if err := r.Read(c, 10, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("read: %v with %v, want nothing to come", err, entryIDs(b.Entries))
	}
}
