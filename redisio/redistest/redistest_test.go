package redistest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

func TestServer(t *testing.T) {
	ctx := context.Background()
	s := redistest.Start(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	rdb := s.Client(t)
	if err := rdb.Set(ctx, "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	if err := rdb.Ping(ctx).Err(); err == nil {
		t.Fatal("a killed server answered")
	}
	s.Restart(t)
	if v := s.Client(t).Get(ctx, "a").Val(); v != "b" {
		t.Fatalf("got %q after the restart", v)
	}
	s.Pause(t)
	answer := make(chan error, 1)
	go func() { answer <- rdb.Ping(ctx).Err() }()
	select {
	case err := <-answer:
		t.Fatalf("a paused server answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.Resume(t)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	s.FlushAll(t)
	if n := rdb.DBSize(ctx).Val(); n != 0 {
		t.Fatalf("%d keys", n)
	}
	one, two := redistest.Key(t), redistest.Key(t)
	if a, b := redistest.Shared(t), redistest.Shared(t); a != b || a.Addr() == s.Addr() || one == two {
		t.Fatal("the shared server is not one of its own")
	}
}
