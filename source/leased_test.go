package source_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// If another reader has taken over an entry, the context of its handler here is cancelled. The
// source then leaves the entry alone, whether the handler gives up or finishes.
func TestStreamLeaseLost(t *testing.T) {
	t.Parallel()
	for name, finish := range map[string]bool{"given up": false, "finished": true} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			s := newStand(t)
			s.fill(t, 2)
			cfg := config[string](s)
			cfg.Lease = 3 * time.Second // renewed after one second, which detects the loss
			// The thief does not renew its lease. The reader must not take the entry back.
			cfg.ReclaimEvery, cfg.Capabilities = time.Hour, &redisio.Capabilities{}
			begun, cause := make(chan string, 1), make(chan error, 1)
			src := handle(source.Stream(s.rdb, cfg), func(ctx context.Context, m flow.Message[string]) error {
				if m.Value != "0" {
					return nil
				}
				begun <- m.ID()
				<-ctx.Done()
				cause <- context.Cause(ctx)
				if finish {
					return nil
				}
				return ctx.Err()
			})
			r := start(t, flow.To(src, new(inbox[string]).sink()))
			stolen := <-begun
			if err := s.rdb.XClaimJustID(ctx, &redis.XClaimArgs{Stream: s.key, Group: cfg.Group, Consumer: "thief",
				Messages: []string{stolen}}).Err(); err != nil {
				t.Fatal(err)
			}
			if err := <-cause; !errors.Is(err, flow.ErrLeaseLost) {
				t.Errorf("cancelled by %v", err)
			}
			// A drain that begins before the other entry is handled gives that back.
			redistest.Soon(t, "the other entry is acked", func() bool { n, _ := s.group(t); return n == 1 })
			drain(t, r)
			pending, err := s.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: s.key, Group: cfg.Group, Start: "-",
				End: "+", Count: 10}).
				Result()
			if err != nil || len(pending) != 1 || pending[0].ID != stolen || pending[0].Consumer != "thief" {
				t.Errorf("pending %+v, %v; want only the stolen entry, for the thief", pending, err)
			}
			if lost := r.Snapshot(ctx).Sources[0].Lost; lost != 1 {
				t.Errorf("snapshot counts %d lost", lost)
			}
		})
	}
}
