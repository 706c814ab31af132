package durable_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/durable"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

var errAway = errors.New("no route to Redis")

// brokenPages fails all reads of pages but the first.
type brokenPages struct{ pages atomic.Int32 }

func (*brokenPages) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*brokenPages) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (b *brokenPages) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() != "hmget" || b.pages.Add(1) == 1 {
			return next(ctx, cmds)
		}
		for _, cmd := range cmds {
			cmd.SetErr(errAway)
		}
		return errAway
	}
}

// A long-poll that ends while Redis is unavailable is answered as one without news.
func TestFault_LongPollEndsWithoutRedis(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	defer close(more)
	s := newStand(t, durable.Config{}, hold(more))
	id := s.start(t, "a | b")
	redistest.Soon(t, "a value is sent", func() bool {
		info, err := s.Info(t.Context(), id)
		return err == nil && info.Values == 1
	})
	far := &stand{Stand: &rig.Stand{RDB: rig.Redis(t, redistest.Shared(t)), Topic: s.Topic}}
	pages := new(brokenPages)
	far.RDB.AddHook(pages)
	replies := far.node(t, durable.Config{})
	if err := replies.SetImpatient(s.Topic); err != nil {
		t.Fatal(err)
	}
	url := serveProtocol(t, replies, durable.HTTPConfig{LongPoll: 50 * time.Millisecond})
	got := rig.Fetch(t, rig.Asked("GET", url(id)+"?offset=now&live=long-poll", ""))
	if got.Status != http.StatusNoContent || pages.pages.Load() != 2 {
		t.Errorf("%+v after %d pages", got, pages.pages.Load())
	}
}
