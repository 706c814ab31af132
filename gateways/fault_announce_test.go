package gateways

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// announcements answers scripts in place of Redis. The first three fail.
type announcements chan time.Time

func (announcements) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a announcements) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	failures := 3
	return func(_ context.Context, cmd redis.Cmder) error {
		if cmd.Args()[len(cmd.Args())-1] != "announce" {
			return nil
		}
		a <- time.Now()
		if failures--; failures >= 0 {
			err := errors.New("no route to Redis")
			cmd.SetErr(err)
			return err
		}
		return nil
	}
}

func (announcements) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A failed announcement is retried with a backoff. Then the types are renewed at the usual interval.
func TestFault_AnnouncementIsRetried(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // never dialed
	defer rdb.Close()
	synctest.Test(t, func(t *testing.T) {
		announced := make(announcements)
		rdb.AddHook(announced)
		svc := NewService(rdb, "topic", ServiceConfig{})
		svc.makeTypes()
		stop, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- svc.announce(t.Context(), stop) }()
		first := <-announced
		<-announced
		<-announced
		last := <-announced
		if took := last.Sub(first); took < announceRetry || took > time.Second {
			t.Errorf("announced after %v", took)
		}
		if pause := (<-announced).Sub(last); pause != announceEvery {
			t.Errorf("announced again after %v, want %v", pause, announceEvery)
		}
		close(stop)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
