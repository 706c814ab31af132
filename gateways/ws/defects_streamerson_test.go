package ws_test

import (
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Streamerson for Node used one connection for blocking XREADs and for writes, so a socket's
// message waited for half an hour.
func TestD12_WritesDoNotWaitBehindReads(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{})
	c := n.join(t, "lobby")
	redistest.Soon(t, "the hub waits in a read", func() bool {
		return !strings.Contains(s.rdb.Info(t.Context(), "clients").Val(), "blocked_clients:0")
	})
	for i := range 20 {
		c.send(
			map[string]any{
				"kind": "send",
				"id":   string(rune('a' + i)),
				"room": "lobby",
				"type": "say",
				"data": said{N: i},
			},
		)
		c.want("ack") // it is in Redis
		equal(t, "entries", int64(i+1), s.rdb.XLen(t.Context(), "{"+s.name+"}:in").Val())
	}
}

// It read the stream of its own requests. Sockets received their own messages, and never the
// answers of workers.
func TestD13_SocketsHearWorkersNotThemselves(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{})
	c := n.join(t, "lobby")
	c.send(map[string]any{"kind": "send", "id": "1", "room": "lobby", "type": "say", "data": said{N: 1}})
	c.want("ack")
	s.tell(t, ws.Message[said]{To: ws.Session(c.hi.Session), Type: "answer", Value: said{N: 2}})
	got := c.want("msg")
	equal(t, "the first it hears", []any{"answer", 2}, []any{got.Type, got.n()})
	equal(t, "and nothing else", 0, len(c.kept))
}

// The identity came from the body of a message, unauthenticated, so any client could receive the
// replies of another. Messages were limited to 512 bytes.
func TestD14_IdentityIsTheServers(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Authenticate: byHeader})
	if res, _, _ := n.handshake(t, "?token=ann"); res.StatusCode != 401 {
		t.Errorf("without authentication: %s", res.Status)
	}
	s.echo(t)
	ann := n.hello(t, as("ann"), map[string]any{})
	eve := n.dial(t, as("eve"))
	eve.send(map[string]any{"kind": "hello", "token": "ann"})
	eve.refused("bad_frame")
	eve.send(map[string]any{"kind": "hello"})
	eve.want("hello")
	text := strings.Repeat("x", 10_000)
	eve.send(
		map[string]any{
			"kind": "send",
			"type": "say",
			"data": map[string]any{"n": 1, "token": "ann", "user": "ann", "text": text},
		},
	)
	got := eve.want("msg") // the answer to eve goes to eve
	equal(t, "from", "eve", got.From)
	if !strings.Contains(string(got.Data), text) {
		t.Error("10,000 bytes did not get through")
	}
	s.tell(
		t,
		ws.Message[said]{To: ws.User("ann"), Value: said{N: 7}},
		ws.Message[said]{To: ws.User("eve"), Value: said{N: 8}},
	)
	equal(t, "ann hears", []int{7}, ann.numbers(1))
	equal(t, "eve hears", []int{8}, eve.numbers(1))
}
