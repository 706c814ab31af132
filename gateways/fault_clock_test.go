package gateways_test

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A service with a clock that is minutes ahead or behind answers every request, and skips those
// that have expired by Redis's clock. Client and Redis have the real clock. The service runs in a
// synctest bubble. The bubble's clock starts in 2000 and is set by sleeping. It stands still while
// the service waits for Redis.
func TestFault_G4_ServiceWithAnotherClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": 10 * time.Minute, "behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rig.NewStand(t)
			s.RDB.XGroupCreateMkStream(t.Context(), s.Topic, "service", "0")
			for range 20 { // already expired when added
				s.RDB.XAdd(t.Context(), redistest.Entry(s.Topic, "data", "x", "type", "echo", "id", "1", "limit", "0"))
			}
			opts, stop := rig.Patient(redistest.Shared(t).Options()), make(chan struct{})
			up := make(chan *gateways.Service, 1)
			var log rig.LockedBuffer
			var service sync.WaitGroup
			defer service.Wait()
			defer sync.OnceFunc(func() { close(stop) })()
			service.Go(func() { serveAt(t, time.Now().Add(ahead), opts, s.Topic, &log, up, stop) })
			svc := <-up
			if svc == nil {
				return
			}
			redistest.Soon(
				t,
				"those are skipped, with a warning",
				func() bool { // it warns before it is busy with others
					return svc.Stats().Expired >= 20 && strings.Contains(log.String(), "expired before handling")
				},
			)
			call := gateways.Call[string, string](s.Client(t, gateways.ClientConfig{}), "echo",
				gateways.Timeout(redistest.Patience))
			for i := range 50 {
				want := strconv.Itoa(i)
				if got, err := call(t.Context(), want); got != want || err != nil {
					t.Fatalf("call %d: %q, %v", i, got, err)
				}
			}
			if n := svc.Stats().Expired; n != 20 {
				t.Errorf("%d requests were skipped, want 20", n)
			}
		})
	}
}

// serveAt runs a service with its clock set to now, until stop is closed.
func serveAt(t *testing.T, now time.Time, opts *redis.Options, topic string, log *rig.LockedBuffer,
	up chan<- *gateways.Service, stop <-chan struct{}) {
	defer close(up)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		rdb := redis.NewClient(opts)
		defer func() { _ = rdb.Close() }()
		svc := gateways.NewService(rdb, topic, gateways.ServiceConfig{Log: slog.New(slog.NewTextHandler(log, nil))})
		gateways.Handle(svc, "echo", func(ctx context.Context, v string) (string, error) {
			const limit = 30 * time.Second // the default of ServiceConfig.Timeout
			if until, has := ctx.Deadline(); !has || time.Until(until) < limit {
				t.Errorf("the handler's deadline is %v away", time.Until(until))
			}
			return v, nil
		})
		run, err := svc.Graph().Start(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
			return
		}
		up <- svc
		<-stop
		if _, err := run.Drain(context.WithoutCancel(t.Context())); err != nil {
			t.Error("drain:", err)
		}
	})
}
