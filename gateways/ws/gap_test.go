package ws_test

import (
	"testing"

	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

// Trimmed messages are reported as a gap, and delivery continues. A session with quiet rooms
// receives no gap.
func TestGap(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Tuning: ws.Tuning{Recent: -1}})
	c, other := n.join(t, "lobby"), n.join(t, "lobby")
	s.tell(t, room("lobby", 1))
	last := c.want("msg").Cursor
	_ = c.conn.CloseNow()
	s.tell(t, room("lobby", 2), room("lobby", 3), room("lobby", 4))
	for other.want("msg").n() != 4 { // the node has read them all, so none is delivered live after the gap
	}
	s.rdb.XTrimMaxLen(t.Context(), "{"+s.name+"}:out", 1)
	c = n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": last})
	gap := c.want("gap")
	equal(t, "from", last, gap.From)
	m := c.want("msg")
	equal(t, "message", 4, m.n())
	equal(t, "gaps", uint64(1), n.hub.Stats().Gaps)

	_ = c.conn.CloseNow()
	c = n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": m.Cursor})
	s.tell(t, room("lobby", 5))
	equal(t, "without a gap", 5, c.want("msg").n())
	equal(t, "gaps", 0, len(c.kept))
}

// A cursor advances without messages for its session, so a later trim causes no gap.
func TestCursorMovesOn(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Tuning: ws.Tuning{PingEvery: 1e9}})
	c := n.join(t, "lobby")
	s.tell(t, room("attic", 1))
	end := s.rdb.XRevRangeN(t.Context(), "{"+s.name+"}:out", "+", "-", 1).Val()[0].ID
	for {
		f := c.any()
		if f.Kind == "cursor" && f.Cursor == end {
			return
		}
	}
}

// The history contains the log's messages to the joined rooms.
func TestHistory(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{})
	var all []ws.Message[said]
	for i := range 1000 {
		all = append(all, room([]string{"lobby", "attic"}[i%2], i))
	}
	s.tell(t, all...)
	c := n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": "0"})
	for i := 0; i < 1000; i += 2 {
		equal(t, "message", i, c.want("msg").n())
	}
	equal(t, "length of the log by default", int64(1000), s.rdb.XLen(t.Context(), "{"+s.name+"}:out").Val())
}

// The log is trimmed to MaxLen, and entries that are not messages do no harm.
func TestLog(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{})
	c := n.join(t, "lobby")
	key := "{" + s.name + "}:out"
	for _, values := range [][]string{{"data", "no JSON", "key", "room:lobby"}, {"data", "1", "key", "nobody"}, {"x", "y"}, {"data", "1"}, {"data", "7", "key", "room:lobby"}} {
		s.rdb.XAdd(t.Context(), redistest.Entry(key, values...))
	}
	equal(t, "the one that is a message", "7", string(c.want("msg").Data))
	equal(t, "the others", uint64(4), n.hub.Stats().Undecoded)
	out := ws.Outbound[said](
		s.rdb,
		s.name,
		sink.StreamConfig[ws.Message[said]]{MaxLen: 10, Tuning: writer.Tuning{Exact: true}},
	)
	run(
		t,
		out,
		[]ws.Message[said]{
			room("lobby", 1),
			room("lobby", 2),
			room("lobby", 3),
			room("lobby", 4),
			room("lobby", 5),
			room("lobby", 6),
			room("lobby", 7),
		}...)
	if n := s.rdb.XLen(t.Context(), key).Val(); n > 10 {
		t.Errorf("%d entries", n)
	}
}
