package gateways

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// The password changes on the server before it changes here. The gateways' own Redis commands wait
// for the new one.
func TestFault_D12_GatewaysWaitForACredential(t *testing.T) {
	srv := redistest.Start(t)
	o, err := srv.NewUser(t.Context(), "worker", "~*", "+@all")
	if err != nil {
		t.Fatal(err)
	}
	o.ReadTimeout = redistest.Patience / 4 // on a busy machine
	admin, rdb, old := srv.Client(t), redis.NewClient(o), o.Password
	t.Cleanup(func() { rdb.Close() })
	rotate := func(t *testing.T, to string) {
		t.Helper()
		if err := admin.Do(t.Context(), "acl", "setuser", "worker", "resetpass", ">"+to).Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.Do(t.Context(), "client", "kill", "user", "worker").Err(); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("the types of other processes", func(t *testing.T) {
		types := &registry{rdb: rdb, key: redistest.Key(t), group: "g",
			member: []byte(`{"process":"p","group":"g","types":["x"]}`)}
		redistest.Soon(
			t,
			"it is announced",
			func() bool { return types.announce(t.Context()) == nil },
		) // in announceWait
		rotate(t, "WRONG")
		if _, err := types.elsewhere(t.Context(), "x"); err == nil {
			t.Error("the type counts as unknown")
		}
		if err := types.announce(t.Context()); err == nil {
			t.Error("it is given up to announce types")
		}
		rotate(t, old)
		redistest.Soon(t, "it is announced again, and known", func() bool {
			if types.announce(t.Context()) != nil { // the first announcement may have expired
				return false
			}
			known, err := types.elsewhere(t.Context(), "x")
			return known && err == nil
		})
	})
	t.Run("a service and its client", func(t *testing.T) {
		topic := redistest.Key(t)
		svc := NewService(rdb, topic, ServiceConfig{})
		Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
		run, err := svc.Graph().Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c := NewClient(rdb, topic, ClientConfig{MaxWait: -1, Timeout: redistest.Patience})
		call := Call[string, string](c, "echo")
		t.Cleanup(func() {
			_, drainErr := run.Drain(context.Background())
			if err := c.Close(context.Background()); err != nil || drainErr != nil {
				t.Error(err, drainErr)
			}
		})
		if _, err := call(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		rotate(t, "WRONG")
		redistest.Soon(t, "calls say that Redis is away", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := call(ctx, "x")
			if redisio.IsPermanent(err) {
				t.Fatal(err)
			}
			return err != nil
		})
		rotate(t, old)
		redistest.Soon(t, "calls are answered", func() bool { _, err := call(t.Context(), "x"); return err == nil })
	})
}
