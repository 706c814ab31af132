// Package writers opens writers in tests of other packages.
package writers

import (
	"cmp"
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// Open opens a writer that is closed with the test.
func Open(t testing.TB, rdb redis.UniversalClient, cfg writer.Config) *writer.Writer {
	t.Helper()
	cfg.Wait = cmp.Or(cfg.Wait, redistest.Patience) // a busy machine may stop the server for some seconds
	w, err := writer.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}
