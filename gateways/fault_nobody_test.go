package gateways_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Requests that no service has taken are bounded in number and in bytes, for calls, messages and
// HTTP.
func TestFault_S2_WhatWaitsIsBounded(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]gateways.ClientConfig{"number": {MaxWaiting: 20}, "bytes": {MaxWaitingBytes: 200_000}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rig.NewStand(t)
			c := s.Client(t, cfg)
			send := gateways.Send[string](c, "note")
			var err error
			redistest.Soon(t, "a message is refused", func() bool { // not faster than the client looks what waits
				err = send(t.Context(), strings.Repeat("x", 10_000))
				return err != nil
			})
			if !errors.Is(err, gateways.ErrOverloaded) {
				t.Fatal(err)
			}
			h := web.HTTP(c, "note", web.FireAndForget())
			if got := rig.Ask(h, rig.Asked("POST", "/", `{}`)); got.Status != http.StatusServiceUnavailable {
				t.Errorf("by HTTP: %+v", got)
			}
			s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
				gateways.HandleVoid(svc, "note", func(context.Context, string) error { return nil })
			})
			redistest.Soon(t, "there is room again", func() bool { return send(t.Context(), "x") == nil })
		})
	}
}

// Calls to a topic without a service fail with ErrNoService: first those that wait, then new ones
// at once. They leave nothing in the stream.
func TestFault_G9_NobodyServes(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	c := s.Client(t, gateways.ClientConfig{Timeout: redistest.Patience})
	call := gateways.Call[rig.Hello, rig.Greeting](c, "hello")
	redistest.Soon(
		t,
		"it is not ready, for nobody serves",
		func() bool { return errors.Is(c.Ready(), gateways.ErrNoService) },
	)
	if _, err := call(t.Context(), rig.Hello{Name: "Ada"}); !errors.Is(err, gateways.ErrNoService) {
		t.Errorf("a call: %v", err)
	}
	if got := rig.Ask(web.HTTP(c, "hello"), rig.Asked("GET", "/", "")); got.Status != http.StatusServiceUnavailable ||
		got.Failure(t).Code != gateways.CodeNoService {
		t.Errorf("by HTTP: %+v", got)
	}
	redistest.Soon(t, "nothing is left of it", func() bool { return s.RDB.XLen(t.Context(), s.Topic).Val() == 0 })
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
	redistest.Soon(
		t,
		"calls are answered",
		func() bool { _, err := call(t.Context(), rig.Hello{Name: "Ada"}); return err == nil },
	)
	redistest.Soon(t, "it is ready", func() bool { return c.Ready() == nil })
}

// A handler's calls, messages and events carry the trace, the request ID and the identity, and the
// headers set for each request.
func TestFault_G8_HeadersRideTheContext(t *testing.T) {
	t.Parallel()
	s, far := rig.NewStand(t), rig.NewStand(t)
	got := make(chan flow.Headers, 2)
	far.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc("next", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
			got <- r.Headers
			return gateways.Response{}, nil
		})
	})
	tenant := gateways.HeaderFor("tenant", func(_ context.Context, v string) string { return "of " + v })
	next := gateways.Call[string, []byte](
		far.Client(t, gateways.ClientConfig{}),
		"next",
		tenant,
		gateways.Header("identity", "own"),
	)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "first", func(ctx context.Context, v string) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := next(ctx, v)
			return err
		})
	})
	first := gateways.Call[string, []byte](
		s.Client(t, gateways.ClientConfig{}),
		"first",
		gateways.Header("traceparent", "00-1"),
		gateways.Header("request-id", "r7"),
		gateways.Header("identity", "ada"),
		gateways.Header("other", "stays"),
	)
	if _, err := first(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	want := flow.Headers{
		{Name: "identity", Value: "own"},
		{Name: "tenant", Value: "of x"},
		{Name: "request-id", Value: "r7"},
		{Name: "traceparent", Value: "00-1"},
	}
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if _, err := next(gateways.PassOn(t.Context(), flow.Headers{{Name: "request-id", Value: "r8"}}), "y"); err != nil {
		t.Fatal(err)
	}
	if id, _ := (<-got).Get("request-id"); id != "r8" {
		t.Errorf("request id %q", id)
	}
	out := sink.Stream(
		s.RDB,
		sink.StreamConfig[string]{Key: s.Topic + ":out", HeadersFor: func(m flow.Message[string]) flow.Headers {
			return flow.Headers{{Name: "tenant", Value: "of " + m.Value}}
		}},
	)
	if err := flow.New("headers", flow.To(source.Of("z"), out)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := s.RDB.XRange(t.Context(), s.Topic+":out", "-", "+").Val()[0].Values; v["h:tenant"] != "of z" {
		t.Errorf("%v", v)
	}
}
