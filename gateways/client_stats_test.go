package gateways_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func counts(all [gateways.CallOutcomes]gateways.Latency) map[string]uint64 {
	m := make(map[string]uint64)
	for i, l := range all {
		if l.Count > 0 {
			m[gateways.CallOutcome(i).String()] = l.Count
		}
	}
	return m
}

func TestClientStats(t *testing.T) {
	s := rig.NewStand(t)
	began, over := make(chan struct{}, 1), make(chan struct{})
	defer close(over)
	svc := s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
		gateways.HandleVoid(svc, "fail", func(context.Context, string) error {
			return gateways.Errorf(gateways.CodeNotFound, "no such thing")
		})
		gateways.HandleVoid(svc, "full", func(context.Context, string) error {
			return gateways.Errorf(gateways.CodeOverloaded, "later")
		})
		gateways.HandleVoid(svc, "hang", func(ctx context.Context, _ string) error {
			began <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		gateways.HandleVoid(svc, "deaf", func(context.Context, string) error { <-over; return nil })
		gateways.HandleStream(svc, "parts", func(ctx context.Context, n int, send func(int) error) error {
			return errors.Join(send(n), send(n+1))
		})
	})
	c := s.Client(t, gateways.ClientConfig{})
	if svc.Topic() != s.Topic || c.Topic() != s.Topic {
		t.Errorf("topics %q and %q, want %q", svc.Topic(), c.Topic(), s.Topic)
	}
	call := func(ctx context.Context, typ, body string) error {
		_, err := gateways.Call[string, string](c, typ)(ctx, body)
		return err
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-began; cancel(errors.New("changed my mind")) }()
	unsent := uint64(0)
	late := func() error { // until the request was sent in time
		for timeout := 500 * time.Millisecond; ; timeout *= 2 {
			ctx, stop := context.WithTimeout(t.Context(), timeout)
			err := call(ctx, "deaf", "x") // a handler that hears of the deadline may answer before it passes here
			stop()
			if !errors.Is(err, gateways.ErrUnavailable) {
				return err
			}
			unsent++
		}
	}
	for _, err := range []error{call(t.Context(), "fail", "x"), call(t.Context(), "full", "x"), call(ctx, "hang", "x"),
		late(), call(t.Context(), "echo", strings.Repeat("x", 2<<20))} {
		if err == nil {
			t.Error("a call succeeded")
		}
	}
	send := gateways.Send[string](c, "echo")
	if err := errors.Join(call(t.Context(), "echo", "x"), send(t.Context(), "x")); err != nil {
		t.Error(err)
	}
	for _, err := range gateways.Stream[int, int](c, "parts")(t.Context(), 1) {
		if err != nil {
			t.Error(err)
		}
	}
	redistest.Soon(t, "each handled request has a latency", func() bool {
		s := svc.Stats()
		return s.Took.Count > 0 && s.Took.Count == s.Answered+s.Failed && s.Took.Sum > 0
	})
	got := c.Stats()
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	_ = call(t.Context(), "echo", "x")
	want := map[string]uint64{"answered": 1, "failed": 1, "overloaded": 1, "cancelled": 1, "timed_out": 1, "invalid": 1}
	if unsent > 0 {
		want["unavailable"] = unsent
	}
	if diff := cmp.Diff(want, counts(got.Calls)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]uint64{"answered": 1}, counts(got.Sends)); diff != "" {
		t.Errorf("sends (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]uint64{"answered": 1}, counts(got.Streams)); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	if got.Waiting != 0 {
		t.Errorf("%d calls wait", got.Waiting)
	}
	took := got.Calls[gateways.CallTimedOut]
	if took.Sum < 19*time.Millisecond || took.Buckets[0] != 0 {
		t.Errorf("the call that timed out after 500ms has the latency %+v", took)
	}
	if after := counts(c.Stats().Calls); after["unavailable"] != unsent+1 {
		t.Errorf("a call of a closed client is counted as %v", after)
	}
}
