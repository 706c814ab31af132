package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// socket is a client of a hub, written in Go.
type socket struct {
	t      *testing.T
	conn   *websocket.Conn
	in     <-chan received
	cursor string // of the last message
	frame         // the answer to its hello
}

// received is a message of a WebSocket, or its end.
type received struct {
	data []byte
	err  error
}

// receive reads a WebSocket up to its end. The server closes one that does not answer its pings, which only
// a client that reads does.
func receive(t *testing.T, conn *websocket.Conn) <-chan received {
	in := make(chan received, 100_000) // more than any test receives
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(in)
		for {
			_, data, err := conn.Read(context.Background())
			in <- received{data, err}
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.CloseNow() // it may be closed
		reading.Wait()
	})
	return in
}

// next returns the next message, or the error with which the WebSocket ended.
func next(t *testing.T, in <-chan received) ([]byte, error) {
	t.Helper()
	select {
	case m, more := <-in:
		if !more {
			return nil, net.ErrClosed
		}
		return m.data, m.err
	case <-time.After(redistest.Patience):
		t.Fatal("nothing is received")
		return nil, nil
	}
}

// frame is a frame of the hub's protocol.
type frame struct {
	Kind    string          `json:"kind"`
	ID      string          `json:"id"`
	Session string          `json:"session"`
	Resume  string          `json:"resume"`
	Resumed bool            `json:"resumed"`
	Cursor  string          `json:"cursor"`
	Room    string          `json:"room"`
	From    string          `json:"from"`
	Type    string          `json:"type"`
	Code    string          `json:"code"`
	Data    json.RawMessage `json:"data"`
}

type members = map[string]any

// dial opens a socket at a page's address, and sends hello.
func dial(t *testing.T, page string, header http.Header, hello members) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(
		ctx,
		"ws"+strings.TrimPrefix(page, "http")+"ws",
		&websocket.DialOptions{HTTPHeader: header},
	)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	s := &socket{t: t, conn: conn, in: receive(t, conn)}
	hello["kind"] = "hello"
	s.send(hello)
	s.frame = s.want("kind", func(f frame) bool { return f.Kind == "hello" })
	s.cursor = s.Cursor
	return s
}

// send sends a frame. It returns an error if the server may be gone.
func (s *socket) send(m members) error {
	s.t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, b)
}

// say sends a message to a room. The message has an id unless it is 0.
func (s *socket) say(id int, room, typ string, data any) error {
	s.t.Helper()
	m := members{"kind": "send", "room": room, "type": typ, "data": data}
	if id != 0 {
		m["id"] = fmt.Sprint(id)
	}
	return s.send(m)
}

// next returns the next frame, or an error if the server is gone.
func (s *socket) next() (f frame, err error) {
	s.t.Helper()
	b, err := next(s.t, s.in)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		s.t.Fatalf("%v in %s", err, b)
	}
	if f.Kind == "msg" {
		s.cursor = f.Cursor
	}
	return f, nil
}

// want skips frames until is returns true, and returns that frame.
func (s *socket) want(what string, is func(frame) bool) frame {
	s.t.Helper()
	for {
		f, err := s.next()
		if err != nil {
			s.t.Fatalf("waiting for %s: %v", what, err)
		}
		if is(f) {
			return f
		}
	}
}

// message skips frames until a message of a type, and returns its data.
func message[T any](s *socket, typ string) (v T) {
	s.t.Helper()
	return decode[T](s.t, s.want(typ, func(f frame) bool { return f.Kind == "msg" && f.Type == typ }).Data)
}

func decode[T any](t *testing.T, data []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}
