package ws_test

import (
	"testing"

	"github.com/streamerson/streamerson-go/gateways/ws"
)

// A session resumes after its cursor, at the same process or another one. It receives the missed
// messages of its rooms and its own.
func TestResume(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	a, b := s.node(t, ws.HubConfig{}), s.node(t, ws.HubConfig{})
	c := a.join(t, "lobby")
	s.tell(t, room("lobby", 1))
	first := c.want("msg")
	for i, n := range []*node{a, b, a, b} {
		_ = c.conn.CloseNow()
		s.tell(
			t,
			room("lobby", 10*i+2),
			room("attic", 10*i+3),
			ws.Message[said]{To: ws.User(c.hi.User), Value: said{N: 10*i + 4}},
			ws.Message[said]{
				To:    ws.Session(c.hi.Session),
				Value: said{N: 10*i + 5},
			},
			ws.Message[said]{To: ws.User("else"), Value: said{N: 0}},
			ws.Message[said]{To: ws.All, Value: said{N: 10*i + 6}},
		)
		was := c.hi
		c = n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": first.Cursor, "resume": c.hi.Resume})
		equal(t, "session", []any{was.Session, was.User, true}, []any{c.hi.Session, c.hi.User, c.hi.Resumed})
		var got []frame
		for range 4 {
			got = append(got, c.want("msg"))
		}
		equal(
			t,
			"messages",
			[]int{10*i + 2, 10*i + 4, 10*i + 5, 10*i + 6},
			[]int{got[0].n(), got[1].n(), got[2].n(), got[3].n()},
		)
		first = got[3]
		s.tell(t, room("lobby", 100)) // live again
		first = c.want("msg")
		equal(t, "live", 100, first.n())
	}
}
