package gateways

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

const killedEnv = "STREAMERSON_TEST_KILLED"

// TestServiceProcess is not a test but the service process that TestFault_G9_KilledServiceIsMissed
// starts and kills.
func TestServiceProcess(t *testing.T) {
	addr, topic, ok := strings.Cut(os.Getenv(killedEnv), " ")
	if !ok {
		t.Skip("runs only as a child of TestFault_G9_KilledServiceIsMissed")
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: redistest.Patience / 4}) // on a busy machine
	defer rdb.Close()
	svc := NewService(rdb, topic, ServiceConfig{})
	Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
	t.Fatalf("the service ended by itself: %v", svc.Run(context.Background()))
}

// A service that was killed leaves its consumer in the group. Calls soon fail with ErrNoService,
// and are answered when a service runs again.
func TestFault_G9_KilledServiceIsMissed(t *testing.T) {
	srv, topic := redistest.Shared(t), redistest.Key(t)
	serve := func() (kill func()) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestServiceProcess$")
		cmd.Env = append(os.Environ(), killedEnv+"="+srv.Addr()+" "+topic)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
		}
	}
	client := func(aliveFor time.Duration) (*Client, func(context.Context, string) (string, error)) {
		o := srv.Options()
		o.ReadTimeout = redistest.Patience / 4 // on a busy machine
		rdb := redis.NewClient(o)
		c := NewClient(rdb, topic, ClientConfig{MaxWait: -1, Timeout: redistest.Patience})
		c.crowd.aliveFor = aliveFor
		t.Cleanup(func() {
			if err := errors.Join(c.Close(context.Background()), rdb.Close()); err != nil {
				t.Error(err)
			}
		})
		return c, Call[string, string](c, "echo")
	}
	kill := serve()
	_, call := client(redistest.Patience)
	redistest.Soon(t, "the service answers", func() bool { _, err := call(t.Context(), "x"); return err == nil })
	kill()
	if n := srv.Client(t).XInfoGroups(t.Context(), topic).Val()[0].Consumers; n != 1 {
		t.Fatalf("the group has %d consumers, want the one that was killed", n)
	}
	c, call := client(10 * time.Millisecond) // instead of AliveFor
	if _, err := call(t.Context(), "x"); !errors.Is(err, ErrNoService) {
		t.Errorf("a call: %v", err)
	}
	if err := c.Ready(); !errors.Is(err, ErrNoService) {
		t.Errorf("ready: %v", err)
	}
	defer serve()()
	_, call = client(redistest.Patience)
	if _, err := call(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}
