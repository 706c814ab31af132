package gateways_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// Replies, errors, headers and parts that are too large are answered with an error at once. Large
// ones within the limit are delivered.
func TestFault_G3_RepliesOfAnySizeAreAnswered(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		text := func(n int) string { return strings.Repeat("x", n) }
		register := func(svc *gateways.Service) {
			gateways.Handle(svc, "body", func(_ context.Context, n int) (string, error) { return text(n), nil })
			gateways.Handle(svc, "error", func(_ context.Context, n int) (string, error) {
				return "", gateways.Errorf(gateways.CodeConflict, "%s", text(n))
			})
			gateways.Handle(svc, "header", func(_ context.Context, n int) (gateways.Answer[string], error) {
				return gateways.Answer[string]{Headers: flow.Headers{{Name: "X-Large", Value: text(n)}}}, nil
			})
			gateways.HandleStream(
				svc,
				"parts",
				func(_ context.Context, n int, send func(string) error) error { return send(text(n)) },
			)
		}
		w.Serve(t, gateways.ServiceConfig{MaxReply: 3 << 20}, register)
		c := w.Client(t)
		ask := func(typ string, n int) (string, error) {
			return gateways.Call[int, string](c, typ, gateways.Timeout(redistest.Patience))(t.Context(), n)
		}
		if got, err := ask("body", 2<<20); err != nil || len(got) != 2<<20 {
			t.Errorf("2 MiB: %d bytes, %v", len(got), err)
		}
		var remote *gateways.RemoteError
		for _, typ := range []string{"body", "header"} {
			if _, err := ask(typ, 4<<20); !errors.As(err, &remote) || remote.Code != gateways.CodeReplyTooLarge {
				t.Errorf("%s: %v", typ, err)
			}
		}
		if _, err := ask("error", 4<<20); !errors.As(err, &remote) || remote.Code != gateways.CodeConflict ||
			len(remote.Message) > 5000 {
			t.Errorf("a long error: %.100v", err)
		}
		if w.Wire != nil {
			return
		}
		for v, err := range gateways.Stream[int, string](c, "parts")(t.Context(), 4<<20) {
			if !errors.As(err, &remote) || remote.Code != gateways.CodeReplyTooLarge {
				t.Errorf("a part of %d bytes, %v", len(v), err)
			}
		}
	})
	s := rig.NewStand(t)
	in := gateways.Requests(s.RDB, s.Topic, source.StreamConfig[int]{})
	made, failed := operators.Try(in, func(_ context.Context, n int) (any, error) {
		switch n {
		case 0:
			return func() {}, nil // not representable in JSON
		case 1:
			return nil, gateways.Errorf(gateways.CodeConflict, "%s", strings.Repeat("x", 2<<20))
		}
		return strings.Repeat("x", n), nil
	})
	rig.Start(t, flow.New("large", gateways.Reply(made, s.RDB, s.Topic, gateways.ReplyConfig{MaxReply: 1000}),
		gateways.ReplyFailure(failed, s.RDB, s.Topic, gateways.ReplyConfig{})))
	call := gateways.Call[int, string](s.Client(t, gateways.ClientConfig{}), "x", gateways.Timeout(redistest.Patience))
	for n, code := range map[int]gateways.Code{0: gateways.CodeInternal, 1: gateways.CodeConflict,
		2000: gateways.CodeReplyTooLarge} {
		var remote *gateways.RemoteError
		if _, err := call(t.Context(), n); !errors.As(err, &remote) || remote.Code != code {
			t.Errorf("%d: %.100v, want %s", n, err, code)
		}
	}
}

// A limit is relative to the time of the entry's ID. No time of a client's clock is sent.
func TestFault_G4_RequestsHaveLimits(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	unsure := s.Unsure(t)
	s.RDB.XGroupCreate(t.Context(), s.Topic, "watch", "0")
	unsure.Late(t, gateways.ClientConfig{}, "x", s.Topic)
	for _, e := range s.RDB.XRange(t.Context(), s.Topic, "-", "+").Val() {
		if e.Values["limit"] == nil || e.Values["deadline"] != nil {
			t.Errorf("%v", e.Values)
		}
	}
	var log rig.LockedBuffer
	for range 20 { // already expired when added
		s.RDB.XAdd(t.Context(), redistest.Entry(s.Topic, "data", "x", "type", "x", "id", "1", "limit", "0"))
	}
	svc := s.Serve(
		t,
		gateways.ServiceConfig{Log: slog.New(slog.NewTextHandler(&log, nil))},
		func(svc *gateways.Service) {
			gateways.HandleVoid(svc, "x", func(context.Context, string) error { return nil })
		},
	)
	redistest.Soon(t, "they are skipped, with a warning", func() bool {
		return svc.Stats().Expired >= 20 && strings.Contains(log.String(), "expired before handling")
	})
}

// A request that can't be decoded is answered with an error if a caller waits. Otherwise it becomes
// a dead letter at once.
func TestFault_S7_UndecodableRequests(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
	c := s.Client(t, gateways.ClientConfig{})
	if err := gateways.Send[string](c, "hello")(t.Context(), "no object"); err != nil {
		t.Fatal(err)
	}
	add := func(fields ...string) { s.RDB.XAdd(t.Context(), redistest.Entry(s.Topic, fields...)) }
	add("other", "x")
	add("data", "{}", "type", "hello", "limit", "soon")
	add("data", "{}", "type", strings.Repeat("x", 1000))
	redistest.Soon(
		t,
		"all are dead letters",
		func() bool { return s.RDB.XLen(t.Context(), s.Topic+":dead").Val() == 4 },
	)
	mailbox := "{" + s.Topic + "}:reply:me"
	s.RDB.XAdd(t.Context(), redistest.Entry(mailbox, "data", "", "type", "hello"))
	add("data", "{}", "type", "hello", "limit", "soon", "reply", mailbox, "id", "7")
	redistest.Soon(t, "it is answered", func() bool { return s.RDB.XLen(t.Context(), mailbox).Val() == 2 })
	if got := s.RDB.XRange(t.Context(), mailbox, "-", "+").Val()[1].Values; got["id"] != "7" ||
		got["h::code"] != "invalid_request" {
		t.Errorf("%v", got)
	}
}

// The client and the service limit the other parts of a request than its body.
func TestFault_S5_RequestsHaveLimits(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
	c := s.Client(t, gateways.ClientConfig{})
	long := strings.Repeat("x", 100_000)
	for _, r := range []gateways.Request{{Type: "hello", ID: long}, {Type: long}, {Type: "hello", Key: long}, {Type: "hello", ContentType: long},
		{Type: "hello", Headers: flow.Headers{{Name: "a", Value: long}}}, {Type: "hello", Headers: make(flow.Headers, 1000)}} {
		var limit *gateways.LimitError
		if _, err := c.Do(t.Context(), r); !errors.As(err, &limit) {
			t.Errorf("%.50v", err)
		}
	}
	for range 3 { // cancels of strangers
		s.RDB.XAdd(t.Context(), redistest.Entry("{"+s.Topic+"}:control", "data", "0", "type", "cancel", "id", long))
	}
	h := web.HTTP(c, "hello", web.ForwardHeaders("X-Long"))
	if got := rig.Ask(h, rig.Asked("GET", "/", "", "X-Long: "+long)); got.Status < 400 || got.Status > 499 {
		t.Errorf("by HTTP: %d", got.Status)
	}
	if got := rig.Ask(h, rig.Asked("GET", "/?name=Ada", "")); got.Status != http.StatusOK {
		t.Errorf("afterwards: %+v", got)
	}
}
