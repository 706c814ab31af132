package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// handshake sends the request that opens a socket, with additional lines. It returns the response
// and the connection.
func (n *node) handshake(t *testing.T, query string, lines ...string) (*http.Response, net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", n.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(redistest.Patience))
	fmt.Fprintf(
		conn,
		"GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "+
			"13\r\nSec-WebSocket-Key: %s\r\n",
		query,
		n.srv.Listener.Addr(),
		base64.StdEncoding.EncodeToString(make([]byte, 16)),
	)
	for _, l := range lines {
		fmt.Fprintf(conn, "%s\r\n", l)
	}
	fmt.Fprint(conn, "\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res, conn, br
}

// header returns the header of a client's frame, masked with zeros.
func header(first byte, size int) []byte {
	switch b := []byte{first}; {
	case size < 126:
		return append(b, 0x80|byte(size), 0, 0, 0, 0)
	case size < 1<<16:
		return append(b, 0x80|126, byte(size>>8), byte(size), 0, 0, 0, 0)
	default:
		return append(b, 0x80|127, 0, 0, 0, 0, byte(size>>24), byte(size>>16), byte(size>>8), byte(size), 0, 0, 0, 0)
	}
}

// greet joins the lobby, and reads the first byte of the answer.
func greet(t *testing.T, conn net.Conn, br *bufio.Reader) {
	t.Helper()
	hello := `{"kind":"hello","rooms":["lobby"]}`
	_, err := conn.Write(append(header(0x81, len(hello)), hello...))
	if err == nil {
		_, err = br.ReadByte()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// closeCode reads frames of the server up to the close frame, and returns its code.
func closeCode(t *testing.T, br *bufio.Reader) int {
	t.Helper()
	for {
		var h [2]byte
		if _, err := io.ReadFull(br, h[:]); err != nil {
			t.Fatalf("no close frame: %v", err)
		}
		size := int(h[1])
		if size == 126 {
			var more [2]byte
			_, _ = io.ReadFull(br, more[:])
			size = int(more[0])<<8 | int(more[1])
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(br, body); err != nil {
			t.Fatal(err)
		}
		if h[0] == 0x88 {
			return int(body[0])<<8 | int(body[1])
		}
	}
}

func TestSecurityCrossOrigin(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Origins: []string{"app.example.com", "https://*.example.org"}})
	for origin, want := range map[string]int{
		"http://" + n.srv.Listener.Addr().String(): 101, "https://app.example.com": 101, "https://a.example.org": 101,
		"https://evil.example": 403, "http://a.example.org": 403, "https://app.example.com.evil.example": 403,
		"null": 403, "https://example.org": 403,
	} {
		res, _, _ := n.handshake(t, "", "Origin: "+origin)
		if res.StatusCode != want {
			t.Errorf("a page of %s: %s, want %d", origin, res.Status, want)
		}
	}
	own := newStand(t).node(t, ws.HubConfig{})
	if res, _, _ := own.handshake(t, "", "Origin: https://app.example.com"); res.StatusCode != 403 {
		t.Errorf("without Origins, a page of another host: %s", res.Status)
	}
	equal(t, "refused", uint64(1), own.hub.Stats().Refused)
}

// A client cannot change its user by the query, a header, or its frames.
func TestSecurityForgedIdentity(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Authenticate: byHeader, Presence: true})
	heard := s.listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	opts := as("mallory")
	opts.HTTPHeader.Set("ws-user", "root")
	opts.HTTPHeader.Set("user", "root")
	opts.HTTPHeader.Set("Cookie", "user=root")
	conn, _, err := websocket.Dial(ctx, n.url()+"?user=root&session=root&ws-user=root", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	c := &client{t: t, conn: conn}
	root := n.hello(t, as("root"), map[string]any{})
	for _, hello := range []string{`{"kind":"hello","user":"root"}`, `{"kind":"hello","session":"` + root.hi.Session + `"}`} {
		c.raw(hello)
		c.refused("bad_frame")
	}
	c.send(map[string]any{"kind": "hello", "resume": root.hi.Resume}) // the token of another user
	hi := c.want("hello")
	equal(t, "user", "mallory", hi.User)
	if hi.Session == root.hi.Session || hi.Resumed {
		t.Error("the session of another user was taken up")
	}
	for _, claim := range []string{`"from":"root"`, `"user":"root"`, `"h:user":"root"`, `"session":"x"`, `"headers":{"user":"root"}`, `"key":"user:root"`} {
		c.raw(`{"kind":"send","id":"1","type":"a",` + claim + `}`)
		c.refused("bad_frame")
	}
	c.send(
		map[string]any{
			"kind": "send",
			"id":   "2",
			"type": "user",
			"data": map[string]any{"user": "root", "h:user": "root"},
		},
	)
	c.want("ack")
	redistest.Soon(t, "what was said", func() bool { return len(heard.of(ws.Said)) == 1 })
	e := heard.of(ws.Said)[0]
	equal(t, "event", []string{"mallory", hi.Session}, []string{e.User, e.Session})
}

// Modified tokens, and tokens of another hub, are refused.
func TestSecurityForgedSession(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{})
	other := newStand(t).node(t, ws.HubConfig{}).join(t)
	mine := n.join(t)
	parts := strings.Split(mine.hi.Resume, ".")
	root := base64.RawURLEncoding.EncodeToString([]byte("root"))
	for name, token := range map[string]string{
		"another user":    strings.Join([]string{root, parts[1], parts[2], parts[3]}, "."),
		"another session": strings.Join([]string{parts[0], other.hi.Session, parts[2], parts[3]}, "."),
		"another time":    strings.Join([]string{parts[0], parts[1], "zzzzzzz", parts[3]}, "."),
		"no mark":         strings.Join(parts[:3], ".") + ".",
		"another hub":     other.hi.Resume,
		"dots":            "....", "nothing": ".",
	} {
		c := n.hello(t, nil, map[string]any{"resume": token})
		if c.hi.Resumed || c.hi.User == "root" || c.hi.User == other.hi.User {
			t.Errorf("a token with %s: %v", name, c.hi)
		}
	}
	if c := n.hello(t, nil, map[string]any{"resume": mine.hi.Resume}); !c.hi.Resumed ||
		c.hi.Session != mine.hi.Session ||
		c.hi.User != mine.hi.User {
		t.Errorf("a token as it was: %v", c.hi)
	}
}

func TestSecurityOversizedFrame(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Limits: ws.Limits{MaxMessage: 1000}})
	other := n.join(t)
	c := n.join(t)
	c.raw(`{"kind":"send","type":"a","data":"` + strings.Repeat("x", 2000) + `"}`)
	c.closed(websocket.StatusMessageTooBig)

	// A frame that only claims to be large takes no memory.
	_, conn, br := n.handshake(t, "")
	_, _ = conn.Write(append(header(0x81, 1<<30), make([]byte, 1100)...))
	equal(t, "close", 1009, closeCode(t, br))
	other.send(map[string]any{"kind": "ping"})
	other.want("pong")
	equal(t, "taken", int64(0), s.rdb.XLen(t.Context(), "{"+s.name+"}:in").Val())
}

// A message of small frames is too large as a whole.
func TestSecurityFragmentedMessage(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Limits: ws.Limits{MaxMessage: 1000}})
	_, conn, br := n.handshake(t, "")
	first := byte(0x01)
	for range 200 {
		if _, err := conn.Write(append(header(first, 10), "          "...)); err != nil {
			break // closed already
		}
		first = 0x00
	}
	equal(t, "close", 1009, closeCode(t, br))
}

// One socket never finishes a frame, and another never sends a hello.
func TestSecurityFrameThatNeverEnds(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Tuning: ws.Tuning{ReadTimeout: time.Second}})
	_, conn, br := n.handshake(t, "")
	_, _ = conn.Write(append(header(0x81, 500), "{"...))
	equal(t, "close of one without a hello", 1008, closeCode(t, br))
	_ = conn.Close()
	gone := func() { redistest.Soon(t, "it is gone", func() bool { return n.hub.Stats().Sockets == 0 }) }
	gone()
	slow := n.hub.Stats().Slow
	equal(t, "slow", uint64(1), slow)

	redistest.Soon(t, "one says hello in time", func() bool {
		slow = n.hub.Stats().Slow
		_, conn, br := n.handshake(t, "")
		hello := `{"kind":"hello"}`
		_, _ = conn.Write(append(header(0x81, len(hello)), hello...))
		_, _ = conn.Write(append(header(0x01, 5), "{    "...))
		rest, err := io.ReadAll(br)
		if err != nil && !errors.Is(err, net.ErrClosed) && !isReset(err) {
			t.Errorf("it ended with %v, after %q", err, rest)
		}
		gone()
		return bytes.Contains(rest, []byte(`"hello"`))
	})
	equal(t, "slow", slow+1, n.hub.Stats().Slow)
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset") }

// A client that exceeds the rate has to wait. Others do not.
func TestSecurityFlood(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Limits: ws.Limits{Rate: 1. / 3600, Burst: 20}})
	flood, other := n.join(t), n.join(t)
	for range 200 {
		flood.send(map[string]any{"kind": "ping"})
	}
	for range 19 {
		flood.want("pong")
	}
	redistest.Soon(t, "the flood waits", func() bool { return n.hub.Stats().Limited == 1 })
	for range 19 {
		other.send(map[string]any{"kind": "ping"})
		other.want("pong")
	}
	equal(t, "frames of both, and the one that waits", uint64(20+20+1), n.hub.Stats().Received)
}

func TestSecurityTooManySockets(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Limits: ws.Limits{MaxSockets: 3}})
	var open []*client
	for range 3 {
		open = append(open, n.join(t))
	}
	res, _, _ := n.handshake(t, "")
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
	_ = open[0].conn.Close(websocket.StatusNormalClosure, "")
	redistest.Soon(t, "there is room", func() bool { return n.hub.Stats().Sockets == 2 })
	n.join(t)
}

func TestSecurityTooManyRooms(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Limits: ws.Limits{MaxRooms: 2}})
	c := n.join(t, "a", "b", "c")
	equal(t, "rooms", []string{"a", "b"}, c.hi.Rooms)
	equal(t, "reasons", map[string]string{"c": "too_many_rooms"}, c.hi.Reasons)
	c.send(map[string]any{"kind": "join", "id": "1", "room": "c"})
	equal(t, "id", "1", c.refused("too_many_rooms").ID)
	c.send(map[string]any{"kind": "leave", "room": "a"})
	c.want("left")
	c.send(map[string]any{"kind": "join", "room": "c"})
	c.want("joined")
	equal(t, "rooms", 2, n.hub.Stats().Rooms)
}

// Hostile JSON is answered with an error. Binary frames and invalid UTF-8 close the socket. Others
// continue.
func TestSecurityHostileJSON(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Limits: ws.Limits{Rate: -1}})
	c, other := n.join(t), n.join(t)
	frames := []string{
		``,
		`{`,
		`null`,
		`[]`,
		`"x"`,
		`{"kind":"hello","kind":"send"}`,
		strings.Repeat("[", 60_000),
		strings.Repeat(`{"a":`, 10_000),
		`{"kind":"send","type":"a","data":` + strings.Repeat(
			"[",
			50,
		) + strings.Repeat(
			"]",
			50,
		) + `}`,
		`{"kind":"__proto__"}`,
		`{"__proto__":{"kind":"send"}}`,
		`{"kind":"send","type":"a","data":1e999999}x`,
	}
	for _, f := range frames {
		c.raw(f)
		c.refused("bad_frame")
	}
	equal(t, "bad", uint64(len(frames)), n.hub.Stats().Bad)
	binary, broken := n.join(t), n.join(t)
	_ = binary.conn.Write(t.Context(), websocket.MessageBinary, []byte(`{"kind":"ping"}`))
	binary.closed(websocket.StatusUnsupportedData)
	broken.raw("{\"kind\":\"ping\",\"id\":\"\xff\"}")
	broken.closed(websocket.StatusInvalidFramePayloadData)
	other.send(map[string]any{"kind": "ping"})
	other.want("pong")
}

func TestSecurityHelloComesFirst(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{})
	c := n.dial(t, nil)
	for _, kind := range []string{"ping", "join", "leave", "send", "call", "cancel"} {
		c.send(map[string]any{"kind": kind, "id": "1", "room": "a", "type": "t"})
		c.refused("hello_first")
	}
	c.send(map[string]any{"kind": "hello", "cursor": "yesterday"})
	c.refused("bad_cursor")
	c.send(map[string]any{"kind": "hello"})
	c.want("hello")
	c.send(map[string]any{"kind": "hello"})
	c.refused("hello_first")
}

// Authorize is called at each join, also of resumed sessions, and at each send.
func TestSecurityAuthorize(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	cfg := ws.HubConfig{
		Authenticate: byHeader,
		Authorize: func(_ context.Context, who gateways.Identity, what ws.Action, room string) error {
			switch {
			case who.User == "ann", room == "lobby" && what == ws.Join:
				return nil
			case room == "lobby":
				return gateways.Errorf("muted", "you are muted")
			}
			return errors.New("a detail that is nobody's business")
		},
	}
	n := s.node(t, cfg)
	eve := n.hello(t, as("eve"), map[string]any{"rooms": []string{"lobby", "board"}})
	equal(t, "rooms", []string{"lobby"}, eve.hi.Rooms)
	equal(t, "refused", []string{"board"}, eve.hi.Refused)
	eve.send(map[string]any{"kind": "join", "id": "1", "room": "board"})
	if f := eve.refused("forbidden"); strings.Contains(f.Message, "detail") {
		t.Errorf("it says %q", f.Message)
	}
	eve.send(map[string]any{"kind": "send", "room": "lobby", "type": "say"})
	equal(t, "message", "you are muted", eve.refused("muted").Message)
	eve.send(map[string]any{"kind": "send", "type": "say"})
	eve.refused("forbidden")
	s.tell(t, room("board", 1), room("lobby", 2))
	equal(t, "what eve hears", []int{2}, eve.numbers(1))
	again := n.hello(t, as("eve"), map[string]any{"rooms": []string{"board"}, "resume": eve.hi.Resume, "cursor": "0"})
	equal(t, "refused again", []string{"board"}, again.hi.Refused)
	equal(t, "said", int64(0), s.rdb.XLen(t.Context(), "{"+s.name+"}:in").Val())
}

func TestSecurityRoomNotJoined(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{})
	c := n.join(t, "a")
	c.send(map[string]any{"kind": "send", "id": "1", "room": "b", "type": "say"})
	c.refused("not_joined")
	c.send(map[string]any{"kind": "leave", "room": "a"})
	c.want("left")
	c.send(map[string]any{"kind": "send", "id": "2", "room": "a", "type": "say"})
	c.refused("not_joined")
	equal(t, "said", int64(0), s.rdb.XLen(t.Context(), "{"+s.name+"}:in").Val())
}

// Compression is not negotiated. A compressed frame is a protocol error.
func TestSecurityCompressedBomb(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{})
	res, conn, br := n.handshake(t, "", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
	equal(t, "extensions", "", res.Header.Get("Sec-WebSocket-Extensions"))
	_, _ = conn.Write(append(header(0xc1, 5), "bombs"...))
	equal(t, "close", 1002, closeCode(t, br))
}

// The hub never repeats the headers of a client's handshake.
func TestSecurityHeaderInjection(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Authenticate: func(r *http.Request) (gateways.Identity, error) {
		if ws.Token(r) == "bad\r\nX-Evil: 1" {
			return gateways.Identity{}, errors.New(ws.Token(r))
		}
		return gateways.Identity{User: ws.Token(r)}, nil
	}})
	for _, c := range []struct {
		query, line string
		want        int
	}{
		{"?token=ann", "Sec-WebSocket-Protocol: streamerson.v1, bearer.ann", 101},
		{"?token=bad%0d%0aX-Evil:%201", "X-Plain: 1", 401},
		{"?token=a%0d%0aX-Evil:%201", "X-Plain: 1", 500}, // a user with a newline is an error of the server
		{"?token=ann", "Sec-WebSocket-Protocol: a\r\n X-Evil: 1", 101},
		{"?token=ann", "Sec-WebSocket-Protocol: streamerson.v1\x01", 400},
		{"?token=ann", "X-Evil : 1", 400},
	} {
		res, _, _ := n.handshake(t, c.query, c.line)
		body := ""
		if res.StatusCode != 101 {
			b, _ := io.ReadAll(res.Body)
			body = string(b)
		}
		if res.StatusCode != c.want || res.Header.Get("X-Evil") != "" || strings.Contains(body, "Evil") {
			t.Errorf("%q %q: %s %v %q, want %d", c.query, c.line, res.Status, res.Header, body, c.want)
		}
		for name := range res.Header {
			switch name {
			case "Upgrade",
				"Connection",
				"Sec-Websocket-Accept",
				"Sec-Websocket-Protocol",
				"Content-Type",
				"X-Content-Type-Options",
				"Date",
				"Content-Length":
			default:
				t.Errorf("%q %q: a header %s", c.query, c.line, name)
			}
		}
	}
}

// heard has the events that a worker received.
type heard struct{ box chan ws.Event[any] }

func (h *heard) of(kinds ...ws.EventKind) (events []ws.Event[any]) {
	n := len(h.box)
	for range n {
		e := <-h.box
		h.box <- e
		for _, k := range kinds {
			if e.Kind == k {
				events = append(events, e)
			}
		}
	}
	return events
}

// listen starts a worker that keeps its events.
func (s *stand) listen(t testing.TB) *heard {
	h := &heard{make(chan ws.Event[any], 1000)}
	in := ws.Inbound[any](s.rdb, s.name, source.StreamConfig[ws.Event[any]]{Group: "listeners"})
	rig.Start(t, flow.New("listen", flow.To(in, flow.NewSink("keep", func() flow.Writer[ws.Event[any]] {
		return flow.WriterFunc[ws.Event[any]](func(_ context.Context, chunk []flow.Message[ws.Event[any]]) error {
			for _, m := range chunk {
				h.box <- m.Value
			}
			return nil
		})
	}))))
	return h
}
