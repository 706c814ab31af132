package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/durable"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// hold sends the words of a question before "|", waits, and sends the rest.
func hold(more chan struct{}) func(context.Context, string, *durable.Writer[string]) error {
	return func(ctx context.Context, q string, w *durable.Writer[string]) error {
		before, after, found := strings.Cut(q, "|")
		if err := w.Send(ctx, strings.Fields(before)...); err != nil {
			return err
		}
		if found {
			select {
			case <-more:
			case <-ctx.Done():
			}
		}
		return w.Send(ctx, strings.Fields(after)...)
	}
}

// A browser reloads in the middle and continues, on another node.
func TestEvents(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	s := newStand(t, durable.Config{}, hold(more))
	one, two := serve(t, s.Replies, durable.HTTPConfig{}), serve(t, s.node(t, durable.Config{}), durable.HTTPConfig{})
	id := s.start(t, "a b | c")
	page := rig.Subscribe(t, one(id))
	expect(t, "live", page.Data(2), "a b")
	page.End()
	page = rig.Subscribe(t, two(id), "Last-Event-ID: "+page.Id)
	again := rig.Subscribe(t, two(id)+"?cursor=")
	close(more)
	expect(t, "on another node", page.Data(1), "c")
	expect(t, "opened twice", again.Data(3), "a b c")
	m, ok := page.Next()
	if !ok || m.Type != "end" || m.Data != `{"state":"done"}` {
		t.Errorf("the end: %+v", m)
	}
	if got := rig.Subscribe(t, one(id), "Last-Event-ID: "+m.ID).Status; got != http.StatusNoContent {
		t.Errorf("a reconnect after the end: %d", got)
	}
	for url, want := range map[string]int{one("unknown"): 404, one(id) + "?cursor=x": 400} {
		got := rig.Fetch(t, rig.Asked("GET", url, ""))
		if got.Status != want {
			t.Errorf("%s: %d %s", url, got.Status, got.Body)
		}
		got.Failure(t)
	}
	if got := rig.Fetch(t, rig.Asked("HEAD", one(id), "")); got.Status != 200 {
		t.Errorf("HEAD: %d", got.Status)
	}
	if got := rig.Fetch(t, rig.Asked("POST", one(id), "")); got.Status != 405 || got.Header.Get("Allow") == "" {
		t.Errorf("POST: %d", got.Status)
	}
	if got := rig.Fetch(t, rig.Asked("DELETE", one(id), "")); got.Status != 409 {
		t.Errorf("stopped after the end: %d", got.Status)
	}
}

func TestEventsOfChanges(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	s := newStand(
		t,
		durable.Config{Limits: durable.Limits{MaxLen: 2}},
		func(ctx context.Context, q string, w *durable.Writer[string]) error {
			if err := w.Send(ctx, "a", "b", "c"); err != nil {
				return err
			}
			<-more
			if err := w.Reset(ctx); err != nil {
				return err
			}
			return errors.Join(w.Send(ctx, "two\nlines"), gateways.Errorf("why", "because"))
		},
	)
	url := serve(t, s.Replies, durable.HTTPConfig{})
	id := s.start(t, "")
	redistest.Soon(t, "three values are sent", func() bool {
		info, err := s.Info(t.Context(), id)
		return err == nil && info.Values == 3
	})
	page := rig.Subscribe(t, url(id))
	var got []string
	for {
		m, ok := page.Next()
		if !ok {
			t.Fatalf("the events end after %q", got)
		}
		got = append(got, m.Type+":"+m.Data)
		if m.Data == "c" {
			close(more)
		}
		if m.Type == "end" {
			break
		}
	}
	if !strings.HasPrefix(got[0], `gap:{"from":"`) || !strings.HasSuffix(got[0], `"missed":1}`) {
		t.Errorf("the first event: %s", got[0])
	}
	expect(t, "after the gap", got[1:],
		`message:b message:c reset:{} message:two`+"\n"+`lines end:{"state":"failed","code":"why","message":"because"}`)
}

// Stop ends it everywhere: by DELETE, for all followers.
func TestDelete(t *testing.T) {
	t.Parallel()
	s := newStand(t, durable.Config{}, hold(nil))
	one, two := serve(t, s.Replies, durable.HTTPConfig{}), serve(t, s.node(t, durable.Config{}), durable.HTTPConfig{})
	id := s.start(t, "a | b")
	pages := []*rig.SSEClient{rig.Subscribe(t, one(id)), rig.Subscribe(t, two(id))}
	for _, p := range pages {
		expect(t, "before", p.Data(1), "a")
	}
	for range 2 {
		if got := rig.Fetch(t, rig.Asked("DELETE", two(id), "")); got.Status != http.StatusNoContent {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	for _, p := range pages {
		if m, _ := p.Next(); m.Type != "end" || m.Data != `{"state":"stopped"}` {
			t.Errorf("%+v", m)
		}
	}
	if got := rig.Fetch(t, rig.Asked("DELETE", two("unknown"), "")); got.Status != http.StatusNotFound {
		t.Errorf("of an unknown reply: %d", got.Status)
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	s := newStand(t, durable.Config{}, words)
	url := serve(t, s.Replies, durable.HTTPConfig{
		Authenticate: func(r *http.Request) (gateways.Identity, error) {
			user := r.Header.Get("User")
			if user == "" {
				return gateways.Identity{}, errors.New("nobody")
			}
			return gateways.Identity{User: user}, nil
		},
		Authorize: func(_ *http.Request, who gateways.Identity, id string, act durable.Action) error {
			switch {
			case who.User == "eve":
				return gateways.Errorf(gateways.CodeNotFound, "no such reply")
			case who.User == "guest" && act != durable.ActFollow:
				return errors.New("guests only follow")
			}
			return nil
		},
	})
	id := s.start(t, "a")
	for _, c := range []struct {
		method, user string
		want         int
	}{{"GET", "", 401}, {"GET", "eve", 404}, {"GET", "guest", 200}, {"DELETE", "guest", 403}} {
		r := rig.Asked(c.method, url(id), "")
		if c.user != "" {
			r.Header.Set("User", c.user)
		}
		if got := rig.Fetch(t, r); got.Status != c.want {
			t.Errorf("%s by %q: %d %s", c.method, c.user, got.Status, got.Body)
		}
	}
}

// socket is a client of a WebSocket.
type socket struct {
	*websocket.Conn
	t   *testing.T
	ctx context.Context
}

func dial(t *testing.T, url string) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, strings.Replace(url, "http", "ws", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &socket{conn, t, ctx}
}

func (s *socket) next() (m struct{ Type, Cursor, Data, State, Code string }) {
	s.t.Helper()
	_, text, err := s.Read(s.ctx)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	return m
}

func (s *socket) send(text string) {
	s.t.Helper()
	if err := s.Write(s.ctx, websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	s := newStand(t, durable.Config{}, hold(nil))
	one, two := serve(t, s.Replies, durable.HTTPConfig{}), serve(t, s.node(t, durable.Config{}), durable.HTTPConfig{})
	id := s.start(t, "a b | c")
	first := dial(t, one(id))
	got := first.next()
	if got.Type != "value" || got.Data != "a" {
		t.Errorf("%+v", got)
	}
	first.CloseNow()
	second := dial(t, two(id)+"?cursor="+got.Cursor)
	if got := second.next(); got.Data != "b" {
		t.Errorf("%+v", got)
	}
	third := dial(t, one(id))
	second.send(`{"type":"stop"}`)
	if got := second.next(); got.Type != "end" || got.State != "stopped" {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{"value", "value", "end"} {
		if got := third.next(); got.Type != want {
			t.Errorf("%+v, want %s", got, want)
		}
	}
	if _, _, err := second.Read(second.ctx); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("after the end: %v", err)
	}
	if _, _, err := dial(t, one("unknown")).Read(t.Context()); websocket.CloseStatus(err) != 4404 {
		t.Errorf("an unknown reply: %v", err)
	}
	id = s.start(t, "a | b")
	fourth := dial(t, one(id))
	fourth.next()
	fourth.send(`{"type":"other"}`)
	if _, _, err := fourth.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("another message: %v", err)
	}
	if err := s.Stop(t.Context(), id); err != nil {
		t.Error(err)
	}
}
