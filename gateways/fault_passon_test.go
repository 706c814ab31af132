package gateways_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Messages, stream calls and events of a handler carry the trace, the request ID and the identity
// of its request, and the headers set for each message.
func TestFault_G8_SendStreamAndPublishPassOn(t *testing.T) {
	s, far := rig.NewStand(t), rig.NewStand(t)
	far.RDB.XGroupCreateMkStream(t.Context(), far.Topic, "watch", "0") // keeps settled requests
	far.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "note", func(context.Context, string) error { return nil })
		gateways.HandleStream(
			svc,
			"parts",
			func(_ context.Context, v string, send func(string) error) error { return send(v) },
		)
	})
	c, pub := far.Client(t, gateways.ClientConfig{}), events.NewPublisher(far.RDB, far.Topic, events.PublisherConfig{})
	t.Cleanup(func() {
		if err := pub.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	each := []gateways.CallOption{
		gateways.Header("fixed", "f"),
		gateways.HeaderFor("tenant", func(_ context.Context, v string) string { return "of " + v }),
	}
	note, parts := gateways.Send[string](c, "note", each...), gateways.Stream[string, string](c, "parts", each...)
	tell := events.Publish[string](pub, "told", each...)
	work := func(ctx context.Context, v string) error {
		for _, err := range parts(ctx, v) {
			if err != nil {
				return err
			}
		}
		return errors.Join(note(ctx, v), tell(ctx, v))
	}
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "unary", work)
		gateways.HandleStream(svc, "streamed", func(ctx context.Context, v string, _ func(string) error) error {
			return work(ctx, v)
		})
	})
	near := s.Client(t, gateways.ClientConfig{})
	own := []gateways.CallOption{
		gateways.Header("traceparent", "00-1"),
		gateways.Header("request-id", "r7"),
		gateways.Header("identity", "ada"),
		gateways.Header("other", "stays"),
	}
	if _, err := gateways.Call[string, []byte](near, "unary", own...)(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	for _, err := range gateways.Stream[string, string](near, "streamed", own...)(t.Context(), "s") {
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for _, key := range []string{far.Topic, events.Key(far.Topic)} {
		for _, e := range s.RDB.XRange(t.Context(), key, "-", "+").Val() {
			seen++
			got := make(map[string]any)
			for _, name := range []string{"traceparent", "h:request-id", "h:identity", "h:fixed", "h:tenant",
				"h:other"} {
				got[name] = e.Values[name]
			}
			want := map[string]any{"traceparent": "00-1", "h:request-id": "r7", "h:identity": "ada", "h:fixed": "f",
				"h:tenant": "of " + e.Values["data"].(string), "h:other": nil}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("headers of %v in %q (-want +got):\n%s", e.Values, key, diff)
			}
		}
	}
	if seen != 6 {
		t.Errorf("%d entries, want 6", seen)
	}
	bad := events.Publish[string](pub, "told",
		gateways.HeaderFor("tenant", func(context.Context, string) string { panic("boom") }))
	var panicked *flow.PanicError
	if err := bad(t.Context(), "x"); !errors.As(err, &panicked) {
		t.Errorf("a panic of HeaderFor: %v", err)
	}
	redistest.Soon(t, "all is settled", func() bool { return s.Pending(t)+far.Pending(t) == 0 })
}
