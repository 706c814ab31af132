package durable_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/durable"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// stand is a topic with a service, and nodes that follow its replies.
type stand struct {
	*rig.Stand
	*durable.Replies // of the service
	ask              func(context.Context, string) (string, error)
}

// newStand runs a service with one handler.
func newStand(
	t *testing.T, cfg durable.Config, handle func(context.Context, string, *durable.Writer[string]) error,
) *stand {
	t.Helper()
	return newStandOn(t, rig.NewStand(t), cfg, handle)
}

func newStandOn(
	t *testing.T, on *rig.Stand, cfg durable.Config,
	handle func(context.Context, string, *durable.Writer[string]) error,
) *stand {
	t.Helper()
	s := &stand{Stand: on}
	s.Replies = s.node(t, cfg)
	s.Serve(t, gateways.ServiceConfig{Timeout: time.Millisecond}, func(svc *gateways.Service) { // it does not apply
		durable.Handle(svc, s.Replies, "ask", handle)
	})
	s.ask = durable.Start[string, string](s.Client(t, gateways.ClientConfig{}), s.Replies, "ask")
	return s
}

// node is what another process has.
func (s *stand) node(t *testing.T, cfg durable.Config) *durable.Replies {
	t.Helper()
	r := durable.New(s.RDB, s.Topic, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// start starts a reply.
func (s *stand) start(t *testing.T, q string) string {
	t.Helper()
	id, err := s.ask(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// serve serves the replies of a node, and returns the URL of one.
func serve(t *testing.T, r *durable.Replies, cfg durable.HTTPConfig) func(id string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/answers/{id}", r.Handler(cfg))
	addr, _ := rig.Up(t, mux, web.ServerConfig{})
	return func(id string) string { return "http://" + addr + "/answers/" + id }
}

// words sends the words of a question, and continues where an earlier attempt has ended.
func words(ctx context.Context, q string, w *durable.Writer[string]) error {
	for _, word := range strings.Fields(q)[w.Resume():] {
		if err := w.Send(ctx, word); err != nil {
			return err
		}
	}
	return nil
}

// read follows a reply to its end, and returns its values, with "reset" and "gap(n)" between.
func read(t *testing.T, r *durable.Replies, id, cursor string) (got []string, last string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	for item, err := range durable.Follow[string](ctx, r, id, cursor) {
		if gap, is := err.(*durable.TrimmedError); is {
			got = append(got, fmt.Sprintf("gap(%d)", gap.Missed))
			continue
		}
		if err != nil {
			return got, last, err
		}
		last = item.Cursor
		if item.Reset {
			got = append(got, "reset")
			continue
		}
		got = append(got, item.Value)
	}
	return got, last, nil
}

func expect(t *testing.T, what string, got []string, want string) {
	t.Helper()
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s: %q, want %q", what, s, want)
	}
}
