package gateways_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A client without this library calls a service with the commands of redisio/WIRE.md.
func TestWirePageCall(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	begun, cancelled := make(chan struct{}), make(chan struct{})
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "hello", rig.Greet)
		gateways.HandleVoid(svc, "hang", func(ctx context.Context, _ string) error {
			close(begun)
			<-ctx.Done()
			close(cancelled)
			return ctx.Err()
		})
	})
	ctx, box := t.Context(), "{"+s.Topic+"}:reply:py-1"
	add := func(key string, fields ...any) {
		t.Helper()
		if err := s.RDB.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: fields}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	add(box, "data", "", "type", "hello")
	if err := s.RDB.PExpire(ctx, box, 2*redistest.Patience).Err(); err != nil {
		t.Fatal(err)
	}
	request := func(typ, id, data string) {
		t.Helper()
		add(s.Topic, "data", data, "type", typ, "id", id, "limit", redistest.Patience.Milliseconds(), "reply", box)
	}
	last := "0"
	reply := func() map[string]any {
		t.Helper()
		for {
			read, err := s.RDB.XRead(ctx,
				&redis.XReadArgs{Streams: []string{box, last}, Count: 1, Block: redistest.Patience}).Result()
			if err != nil {
				t.Fatal(err)
			}
			m := read[0].Messages[0]
			if last = m.ID; m.Values["type"] == "hello" { // the mailbox's first entry
				continue
			}
			delete(m.Values, "h::wait")
			return m.Values
		}
	}
	request("hello", "r-1", `{"Name":"Ada"}`)
	want := map[string]any{"id": "r-1", "ct": "application/json", "data": `{"Text":"hello Ada"}`}
	if diff := cmp.Diff(want, reply()); diff != "" {
		t.Errorf("an answer (-want +got):\n%s", diff)
	}
	request("hello", "r-2", `{}`)
	want = map[string]any{"id": "r-2", "type": "error", "data": "who is it?", "h::code": "invalid_request"}
	if diff := cmp.Diff(want, reply()); diff != "" {
		t.Errorf("a failure (-want +got):\n%s", diff)
	}
	request("hang", "r-3", `"x"`)
	<-begun // an earlier cancel prevents the handling
	add("{"+s.Topic+"}:control", "type", "cancel", "id", "r-3", "data", "0")
	<-cancelled
}

// A subscriber receives an event of a publisher without this library.
func TestWirePageEvent(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	err := s.RDB.XAdd(t.Context(), redistest.Entry("{"+s.Topic+"}:events", "data", `{"Name":"Ada"}`, "type", "joined",
		"key", "k")).Err()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := events.Key(s.Topic), "{"+s.Topic+"}:events"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	in := events.Subscribe[rig.Hello](s.RDB, s.Topic, "joined", events.SubscribeConfig{Group: "g"})
	for v, err := range flow.Values(ctx, in) {
		if err != nil || v.Name != "Ada" {
			t.Errorf("%+v, %v", v, err)
		}
		break
	}
}
