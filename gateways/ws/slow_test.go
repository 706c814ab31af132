package ws_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// big is a message that fills buffers.
func big(n int) ws.Message[said] {
	m := room("lobby", n)
	m.Value.Text = strings.Repeat("x", 100<<10)
	return m
}

// lazy is a client that has joined the lobby, and reads only on request.
func lazy(t *testing.T, n *node) *client {
	t.Helper()
	c := n.join(t, "lobby")
	c.conn.SetReadLimit(1 << 20)
	return c
}

// A slow client is paused. It receives everything at its own pace, little of it is held in memory,
// and other clients do not wait.
func TestSlowPause(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Queue: 4, Tuning: ws.Tuning{Recent: -1, WriteTimeout: time.Hour, PingEvery: time.Hour}})
	slow, quick := lazy(t, n), lazy(t, n)
	for i := range 60 { // 6 MB: more than the buffers of the system
		s.tell(t, big(i))
		equal(t, "quick", i, quick.want("msg").n())
	}
	equal(t, "slow", count(60), slow.numbers(60))
	equal(t, "dropped, gaps", [2]uint64{0, 0}, [2]uint64{n.hub.Stats().Dropped, n.hub.Stats().Gaps})
}

// With DropOldest a slow client misses some messages, and receives their number.
func TestSlowDropOldest(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(
		t,
		ws.HubConfig{Queue: 4, Slow: ws.DropOldest, Tuning: ws.Tuning{WriteTimeout: time.Hour, PingEvery: time.Hour}},
	)
	slow, quick := lazy(t, n), lazy(t, n)
	for i := range 60 {
		s.tell(t, big(i))
		equal(t, "quick", i, quick.want("msg").n())
	}
	next, missed := 0, 0
	for next < 60 {
		f, err := slow.next()
		if err != nil {
			t.Fatal(err)
		}
		switch f.Kind {
		case "gap":
			missed += f.Missed
			next += f.Missed
		case "msg":
			if f.n() != next {
				t.Fatalf("message %d came, want %d: gaps don't count what is missing", f.n(), next)
			}
			next++
		}
	}
	if missed == 0 {
		t.Error("nothing was dropped: the test is too small")
	}
	redistest.Soon(t, "it is counted", func() bool { return n.hub.Stats().Dropped == uint64(missed) })
}

// With Close a slow client is closed with 1013 once it reads, and resumes where it was.
func TestSlowClose(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(
		t,
		ws.HubConfig{Queue: 4, Slow: ws.Close, Tuning: ws.Tuning{WriteTimeout: time.Hour, PingEvery: time.Hour}},
	)
	slow, quick := lazy(t, n), lazy(t, n)
	next, cursor := 0, ""
	for i := range 60 {
		s.tell(t, big(i))
		equal(t, "quick", i, quick.want("msg").n())
		if i == 0 { // the hub's writer may be slow too, and then nothing would come before the close
			first := slow.want("msg")
			equal(t, "message", 0, first.n())
			next, cursor = 1, first.Cursor
		}
	}
	for {
		f, err := slow.next()
		if err != nil {
			equal(t, "close", websocket.StatusTryAgainLater, websocket.CloseStatus(err))
			break
		}
		equal(t, "message", next, f.n())
		next, cursor = next+1, f.Cursor
	}
	if next == 60 {
		t.Error("all messages came before the close")
	}
	again := n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": cursor, "resume": slow.hi.Resume})
	again.conn.SetReadLimit(1 << 20)
	for ; next < 60; next++ {
		equal(t, "message after it", next, again.want("msg").n())
	}
	equal(t, "slow", uint64(1), n.hub.Stats().Slow)
}

// A client that reads nothing is disconnected after WriteTimeout, under each policy. Others do not notice.
func TestSlowNotAtAll(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Queue: 4, Tuning: ws.Tuning{WriteTimeout: 5 * time.Second}})
	_, conn, br := n.handshake(t, "")
	greet(t, conn, br)
	quick := lazy(t, n)
	redistest.Soon(t, "both are there", func() bool { return n.hub.Stats().Rooms == 1 && n.hub.Stats().Sockets == 2 })
	for i := range 60 {
		s.tell(t, big(i))
		equal(t, "quick", i, quick.want("msg").n())
	}
	redistest.Soon(t, "it is cut off", func() bool { return n.hub.Stats().Sockets == 1 })
	equal(t, "slow", uint64(1), n.hub.Stats().Slow)
}

// A client that vanished without a close frame is detected, because it does not answer the ping.
func TestDeadPeer(t *testing.T) {
	t.Parallel()
	for every := time.Second; !deadPeer(t, every); every *= 2 {
		if every > redistest.Patience/8 {
			t.Fatalf("a client that answers is cut off, also with a ping every %v", every)
		}
	}
}

// deadPeer is TestDeadPeer with a PingEvery. It returns false if the other client did not answer in time.
func deadPeer(t *testing.T, every time.Duration) bool {
	n := newStand(t).node(t, ws.HubConfig{Tuning: ws.Tuning{PingEvery: every, PongTimeout: 2 * every}})
	alive := n.join(t)
	var reading sync.WaitGroup
	var last frame
	var end error
	reading.Go(func() { last, end = alive.next() }) // it answers pings while it reads
	_, conn, br := n.handshake(t, "")
	greet(t, conn, br)
	var beat [2]byte
	for beat[0] != 0x89 { // the ping, after the hello
		if _, err := io.ReadFull(br, beat[:1]); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Soon(t, "the dead one is gone", func() bool {
		return n.hub.Stats().Dead > 0 && n.hub.Stats().Sockets <= 1
	})
	dead, left := n.hub.Stats().Dead, n.hub.Stats().Sockets
	_ = alive.conn.Write(t.Context(), websocket.MessageText, []byte(`{"kind":"ping"}`))
	reading.Wait()
	_ = alive.conn.CloseNow()
	if end != nil {
		return false
	}
	equal(t, "answer", "pong", last.Kind)
	equal(t, "dead, left", [2]int{1, 1}, [2]int{int(dead), left})
	return true
}

// A client that is behind while Redis is unavailable is still pinged. Its answers keep it
// connected. Pings do not wait for the timeouts of the Redis client, which are long here.
func TestPingWhileBehind(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := &stand{rig.Redis(t, srv), redistest.Key(t)}
	n := s.node(
		t,
		ws.HubConfig{
			Queue:  4,
			Tuning: ws.Tuning{Recent: -1, WriteTimeout: time.Minute, PingEvery: time.Second, PongTimeout: time.Minute},
		},
	)
	pinged := make(chan struct{}, 100)
	c := n.hello(t, &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
		pinged <- struct{}{}
		return true
	}}, map[string]any{"rooms": []string{"lobby"}})
	var all []ws.Message[said]
	for i := range 60 { // more than the buffers of the system, so that it falls behind
		all = append(all, big(i))
	}
	s.tell(t, all...)
	srv.Pause(t)
	var got []int
	var reading sync.WaitGroup
	reading.Go(func() { got = c.numbers(60) })
	for range 3 { // the first ping may have been sent before
		<-pinged
	}
	srv.Resume(t)
	reading.Wait()
	equal(t, "all, once Redis is back", count(60), got)
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Tuning: ws.Tuning{IdleTimeout: time.Second}})
	redistest.Soon(t, "a client says hello in time, and is closed later", func() (greeted bool) {
		c := n.dial(t, nil)
		_ = c.conn.Write(t.Context(), websocket.MessageText, []byte(`{"kind":"hello"}`))
		for {
			f, err := c.next()
			if err != nil {
				if greeted {
					equal(t, "close", websocket.StatusGoingAway, websocket.CloseStatus(err))
				}
				return greeted
			}
			greeted = greeted || f.Kind == "hello"
		}
	})
}
