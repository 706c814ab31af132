package ws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// stand is a hub's name for one test on the shared server.
type stand struct {
	rdb  *redis.Client
	name string
}

func newStand(t testing.TB) *stand {
	return &stand{redistest.Shared(t).Client(t), redistest.Key(t)}
}

// node is one process of a hub, with its HTTP server.
type node struct {
	hub *ws.Hub
	srv *httptest.Server
	run *flow.Running
}

// patient makes calls that a busy machine neither ends nor refuses.
var patient = gateways.ClientConfig{Timeout: redistest.Patience / 4, MaxWait: -1}

// node starts a hub, which ends with the test. Unless cfg says so, no client and no write is too slow for it.
func (s *stand) node(t testing.TB, cfg ws.HubConfig) *node {
	t.Helper()
	for _, d := range []*time.Duration{&cfg.PingEvery, &cfg.ReadTimeout, &cfg.WriteTimeout, &cfg.SendTimeout} {
		if *d == 0 {
			*d = redistest.Patience
		}
	}
	hub := ws.NewHub(s.rdb, s.name, cfg)
	n := &node{hub: hub, srv: httptest.NewServer(hub), run: rig.Start(t, hub.Graph())}
	t.Cleanup(n.srv.Close)
	redistest.Soon(t, "the hub takes sockets", func() bool { return hub.Ready() == nil })
	return n
}

// drain stops the node's hub, as in a deployment.
func (n *node) drain(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	if _, err := n.run.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
}

// said is a message of clients and workers in the tests.
type said struct {
	N    int    `json:"n"`
	Text string `json:"text,omitempty"`
}

// echo is a worker that sends each message back: to its room, or without a room to its session.
func (s *stand) echo(t testing.TB) {
	t.Helper()
	in := ws.Inbound[said](s.rdb, s.name, source.StreamConfig[ws.Event[said]]{})
	back := flow.Step(in, "echo", func() flow.StepFunc[ws.Event[said], ws.Message[said]] {
		return func(_ context.Context, m flow.Message[ws.Event[said]]) (flow.Message[ws.Message[said]], bool, error) {
			e := m.Value
			to := ws.Session(e.Session)
			if e.Room != "" {
				to = ws.Room(e.Room)
			}
			return flow.Derive(
				m,
				ws.Message[said]{To: to, From: e.User, Type: e.Type, Value: e.Value},
			), e.Kind == ws.Said, nil
		}
	})
	rig.Start(
		t,
		flow.New("echo", flow.To(back, ws.Outbound[said](s.rdb, s.name, sink.StreamConfig[ws.Message[said]]{}))),
	)
}

// tell writes messages to the log, as a worker does.
func (s *stand) tell(t testing.TB, messages ...ws.Message[said]) {
	t.Helper()
	g := flow.New(
		"tell",
		flow.To(source.Of(messages...), ws.Outbound[said](s.rdb, s.name, sink.StreamConfig[ws.Message[said]]{})),
	)
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func room(name string, n int) ws.Message[said] {
	return ws.Message[said]{To: ws.Room(name), Type: "said", Value: said{N: n}}
}

// frame is a frame as a client receives it.
type frame struct {
	Kind, ID, Session, Resume, User, Cursor, Room, From, To, Type, Code, Message string

	Resumed        bool
	Rooms, Refused []string
	Reasons        map[string]string
	Limits         map[string]int
	Missed         int
	Data           json.RawMessage
}

func (f frame) String() string {
	b, _ := json.Marshal(f)
	return string(b)
}

// n returns the number in a message.
func (f frame) n() int {
	var v said
	_ = json.Unmarshal(f.Data, &v)
	return v.N
}

// client is the client end of a socket.
type client struct {
	t    testing.TB
	conn *websocket.Conn
	hi   frame // the answer to its hello
	kept []frame
}

func (n *node) url() string { return "ws" + strings.TrimPrefix(n.srv.URL, "http") }

// dial opens a socket without a hello.
func (n *node) dial(t testing.TB, opts *websocket.DialOptions) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, n.url(), opts)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(4 << 20)
	c := &client{t: t, conn: conn}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return c
}

// join opens a session in rooms.
func (n *node) join(t testing.TB, rooms ...string) *client {
	t.Helper()
	return n.hello(t, nil, map[string]any{"rooms": rooms})
}

func (n *node) hello(t testing.TB, opts *websocket.DialOptions, hello map[string]any) *client {
	t.Helper()
	c := n.dial(t, opts)
	hello["kind"] = "hello"
	c.send(hello)
	c.hi = c.want("hello")
	return c
}

// as returns options to dial as a user, for nodes with byHeader.
func as(user string) *websocket.DialOptions {
	return &websocket.DialOptions{HTTPHeader: http.Header{"X-User": {user}}}
}

// byHeader is an Authenticate for tests.
func byHeader(r *http.Request) (gateways.Identity, error) {
	user := r.Header.Get("X-User")
	if user == "" {
		return gateways.Identity{}, fmt.Errorf("nobody")
	}
	return gateways.Identity{User: user}, nil
}

func (c *client) send(v any) {
	c.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		c.t.Fatal(err)
	}
	c.raw(string(b))
}

func (c *client) raw(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// next returns the next frame, and skips cursor frames.
func (c *client) next() (frame, error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		_, b, err := c.conn.Read(ctx)
		cancel()
		if err != nil {
			return frame{}, err
		}
		var f frame
		if err := json.Unmarshal(b, &f); err != nil {
			return frame{}, fmt.Errorf("%q: %w", b, err)
		}
		if f.Kind != "cursor" {
			return f, nil
		}
	}
}

// want returns the next frame of a kind. It keeps the frames before it, because acknowledgements
// and messages have no order.
func (c *client) want(kind string) frame {
	c.t.Helper()
	for i, f := range c.kept {
		if f.Kind == kind {
			c.kept = slices.Delete(c.kept, i, i+1)
			return f
		}
	}
	for {
		f, err := c.next()
		switch {
		case err != nil:
			c.t.Fatalf("%s: %v; kept %v", kind, err, c.kept)
		case f.Kind == kind:
			return f
		case f.Kind == "error":
			c.t.Fatalf("want %s, got %v", kind, f)
		}
		c.kept = append(c.kept, f)
	}
}

// refused returns the next error, which must have a code.
func (c *client) refused(code string) frame {
	c.t.Helper()
	f := c.want("error")
	if f.Code != code {
		c.t.Fatalf("the error is %v, want %s", f, code)
	}
	return f
}

// closed reads until the socket closes, and checks the close code.
func (c *client) closed(code websocket.StatusCode) {
	c.t.Helper()
	for {
		if _, err := c.next(); err != nil {
			if got := websocket.CloseStatus(err); got != code {
				c.t.Errorf("closed with %d (%v), want %d", got, err, code)
			}
			return
		}
	}
}

// numbers returns the numbers of the next messages.
func (c *client) numbers(count int) (got []int) {
	c.t.Helper()
	for range count {
		got = append(got, c.want("msg").n())
	}
	return got
}

func equal(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// any returns the next frame of any kind.
func (c *client) any() frame {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	_, b, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		c.t.Fatal(err)
	}
	return f
}

func run[T any](t testing.TB, to flow.Sink[T], values ...T) {
	t.Helper()
	if err := flow.New("run", flow.To(source.Of(values...), to)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
