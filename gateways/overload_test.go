package gateways_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// With more calls than the service can answer, some are answered. The others are refused at once
// with a typed error, until the service has caught up.
func TestOverloadIsRefused(t *testing.T) {
	s := rig.NewStand(t)
	s.Serve(
		t,
		gateways.ServiceConfig{MaxInFlight: 8, Workers: 1},
		func(svc *gateways.Service) {
			gateways.HandleVoid(
				svc,
				"slow",
				func(ctx context.Context, _ string) error { return flow.Sleep(ctx, 2*time.Millisecond) },
			)
		},
	)
	call := gateways.Call[string, []byte](s.Client(t, gateways.ClientConfig{MaxWait: 20 * time.Millisecond}), "slow")
	var answered, refused atomic.Int32
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for refused.Load() < 100 {
				_, err := call(t.Context(), "x")
				var overload *gateways.OverloadError
				switch {
				case err == nil:
					answered.Add(1)
				case errors.As(err, &overload) && errors.Is(err, gateways.ErrOverloaded) && overload.RetryAfter > 0 &&
					overload.Wait > 0:
					refused.Add(1)
				default:
					t.Errorf("%v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if answered.Load() == 0 {
		t.Error("none was answered")
	}
	redistest.Soon(t, "calls are let in again", func() bool { _, err := call(t.Context(), "x"); return err == nil })
}

// Absent services are not an overload: calls wait for them, and time out.
func TestServicesAwayAreNoOverload(t *testing.T) {
	call := gateways.Call[string, []byte](
		rig.NewStand(t).Unsure(t).Client(t, gateways.ClientConfig{MaxWait: time.Millisecond}),
		"x",
		gateways.Timeout(500*time.Millisecond),
	)
	for range 4 {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := call(t.Context(), "x"); !errors.Is(err, gateways.ErrTimeout) {
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
	}
}

// A client that hangs does not fill Redis, because its mailbox is bounded.
func TestMailboxIsCapped(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	svc := s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "x", func(context.Context, string) error { return nil })
	})
	mailbox := "{" + s.Topic + "}:reply:hangs"
	s.RDB.XAdd(t.Context(), redistest.Entry(mailbox, "data", "", "type", "hello"))
	const n = 20_000
	pipe := s.RDB.Pipeline()
	for i := range n {
		pipe.XAdd(
			t.Context(),
			redistest.Entry(s.Topic, "data", "x", "type", "x", "id", fmt.Sprint(i), "reply", mailbox),
		)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "all are answered", func() bool { return svc.Stats().Answered == n && s.Pending(t) == 0 })
	if got := s.RDB.XLen(t.Context(), mailbox).Val(); got < 16_384 || got > 16_384+200 {
		t.Errorf("%d replies in the mailbox", got)
	}
}

// A service takes a few requests for each concurrent handler, unless the config sets a number.
func TestServiceTakesAFewForEachHandler(t *testing.T) {
	key := func(r gateways.Request) string { return r.Key }
	for _, test := range []struct {
		cfg  gateways.ServiceConfig
		want int
	}{
		{gateways.ServiceConfig{}, 512},
		{gateways.ServiceConfig{Workers: 100}, 400},
		{gateways.ServiceConfig{Workers: 8, KeyedBy: key}, 32},
		{gateways.ServiceConfig{Workers: 1}, 16},
		{gateways.ServiceConfig{MaxInFlight: 7}, 7},
	} {
		for _, s := range gateways.NewService(rig.NewStand(t).RDB, "x", test.cfg).Graph().Describe().Stages {
			if s.Name == "requests" && s.MaxInFlight != test.want {
				t.Errorf("%+v: %d, want %d", test.cfg, s.MaxInFlight, test.want)
			}
		}
	}
}
