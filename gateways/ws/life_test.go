package ws_test

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Workers receive the presence events of sessions and rooms in order, also at the end of a process.
func TestPresence(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Authenticate: byHeader, Presence: true})
	heard := s.listen(t)
	ann := n.hello(t, as("ann"), map[string]any{"rooms": []string{"lobby"}})
	ann.send(map[string]any{"kind": "join", "room": "attic"})
	ann.want("joined")
	ann.send(map[string]any{"kind": "leave", "room": "attic"})
	ann.want("left")
	bob := n.hello(t, as("bob"), map[string]any{})
	_ = ann.conn.Close(websocket.StatusNormalClosure, "")
	redistest.Soon(t, "ann is gone", func() bool { return n.hub.Stats().Sockets == 1 })
	var reading sync.WaitGroup
	reading.Go(func() { bob.closed(websocket.StatusGoingAway) })
	n.drain(t)
	reading.Wait()
	all := []ws.EventKind{ws.Connected, ws.Joined, ws.Left, ws.Disconnected}
	redistest.Soon(t, "all events", func() bool { return len(heard.of(all...)) == 8 })
	var got []string
	for _, e := range heard.of(all...) {
		got = append(got, e.User+" "+string(e.Kind)+" "+e.Room)
		if e.Session == "" {
			t.Errorf("%v has no session", e)
		}
	}
	equal(
		t,
		"events",
		[]string{
			"ann connected ",
			"ann joined lobby",
			"ann joined attic",
			"ann left attic",
			"bob connected ",
			"ann left lobby",
			"ann disconnected ",
			"bob disconnected ",
		},
		got,
	)
}

// A stopping hub asks clients to reconnect, answers calls in flight, and refuses new sockets.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for limit := 4 * time.Second; !shutdown(t, limit); limit *= 2 {
		if limit > redistest.Patience/8 {
			t.Fatalf("the hub or its client were late, also within %v", limit)
		}
	}
}

// shutdown is TestShutdown with a CloseTimeout. It returns false if that was too short for this machine.
func shutdown(t *testing.T, limit time.Duration) bool {
	s := newStand(t)
	n := s.node(
		t,
		ws.HubConfig{
			Calls:     s.services(t),
			CallTypes: []string{"sleep"},
			Tuning:    ws.Tuning{CloseTimeout: limit},
		},
	)
	idle, busy := n.join(t, "lobby"), n.join(t, "lobby")
	busy.send(map[string]any{"kind": "call", "id": "1", "type": "sleep", "timeout": 60_000})
	busy.send(map[string]any{"kind": "send", "id": "2", "room": "lobby", "type": "say"})
	busy.want("ack")
	busy.send(map[string]any{"kind": "call", "id": "3", "type": "sleep", "timeout": (limit / 4).Milliseconds()})
	redistest.Soon(t, "the calls are in flight", func() bool { return n.hub.Stats().Calls == 2 })
	began := time.Now()
	var draining sync.WaitGroup
	draining.Go(func() { n.drain(t) })
	idle.want("bye")
	idle.closed(websocket.StatusGoingAway)
	var got []string
	var end error
	for {
		var f frame
		if f, end = busy.next(); end != nil {
			break
		}
		if f.Kind == "error" {
			got = append(got, f.ID+" "+f.Code)
			continue
		}
		got = append(got, f.Kind)
		if f.Kind == "bye" { // a send, unless the socket is closed already
			more := `{"kind":"send","id":"4","room":"lobby","type":"say"}`
			_ = busy.conn.Write(t.Context(), websocket.MessageText, []byte(more))
		}
	}
	killed := websocket.CloseStatus(end) == -1 && time.Since(began) > limit
	draining.Wait()
	early, bye := slices.Index(got, "3 timeout"), slices.Index(got, "bye")
	if killed || early >= 0 && early < bye || !slices.Contains(got, "4 closing") || slices.Contains(got, "3 closing") {
		t.Logf("within %v: %q, %v", limit, got, end)
		return false
	}
	// Nothing new is begun: 4. A call ends before or after that: 3. The other one does not end: 1.
	slices.Sort(got[1:min(3, len(got))])
	equal(t, "frames", []string{"bye", "3 timeout", "4 closing", "1 closing"}, got)
	equal(t, "close", websocket.StatusGoingAway, websocket.CloseStatus(end))
	if res, _, _ := n.handshake(t, ""); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after the end: %s", res.Status)
	}
	equal(t, "sockets", 0, n.hub.Stats().Sockets)
	equal(t, "rooms", 0, n.hub.Stats().Rooms)
	if n.hub.Ready() == nil {
		t.Error("it says that it takes sockets")
	}

	// A hub may run again.
	rig.Start(t, n.hub.Graph())
	redistest.Soon(t, "it takes sockets", func() bool { return n.hub.Ready() == nil })
	c := n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": idle.hi.Cursor, "resume": idle.hi.Resume})
	equal(t, "resumed", true, c.hi.Resumed)
	s.tell(t, room("lobby", 1))
	equal(t, "live", 1, c.want("msg").n())
	return true
}

// While Redis is unavailable, a message waits. Then its client receives the error unknown. Sent
// again with the same id, it is accepted once.
func TestOutage(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	s := &stand{rig.Redis(t, srv), redistest.Key(t)}
	n := s.node(t, ws.HubConfig{Tuning: ws.Tuning{SendTimeout: time.Second}})
	c, other := n.dial(t, nil), n.dial(t, nil)
	// answer returns "" for a refusal because Redis was slow.
	answer := func(c *client, frame map[string]any) string {
		c.send(frame)
		for {
			f, err := c.next()
			switch {
			case err != nil:
				t.Fatal(err)
			case f.Kind == "msg":
				c.kept = append(c.kept, f)
			case f.Code == "unavailable":
				return ""
			default:
				return cmp.Or(f.Code, f.Kind)
			}
		}
	}
	for _, c := range []*client{c, other} {
		redistest.Soon(t, "it joins", func() bool {
			return answer(c, map[string]any{"kind": "hello", "rooms": []string{"lobby"}}) == "hello"
		})
	}
	say := func(n int) string {
		return answer(c, map[string]any{"kind": "send", "id": strconv.Itoa(n), "room": "lobby", "type": "say",
			"data": said{N: n}})
	}
	acked := func(n int) {
		redistest.Soon(t, "it is accepted", func() bool {
			a := say(n)
			if a != "" && a != "unknown" && a != "ack" {
				t.Fatalf("message %d: %s", n, a)
			}
			return a == "ack"
		})
	}
	srv.Pause(t)
	doubt := ""
	redistest.Soon(t, "there is an answer", func() bool { doubt = say(1); return doubt != "" })
	equal(t, "answer", "unknown", doubt)
	other.send(map[string]any{"kind": "ping"}) // no other client waits
	other.want("pong")
	srv.Resume(t)
	acked(1)
	key := "{" + s.name + "}:in"
	equal(t, "it is there", true, s.rdb.XLen(t.Context(), key).Val() > 0)
	acked(2)
	equal(t, "entries", int64(2), s.rdb.XLen(t.Context(), key).Val())

	srv.Kill(t)
	srv.Restart(t)
	s.echo(t)
	acked(3)
	for i := 1; i <= 3; i++ {
		equal(t, "message", i, other.want("msg").n())
	}
}

// Events that no worker reads are bounded. Beyond the limit clients receive an error.
func TestOverloaded(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Tuning: ws.Tuning{MaxLen: 5, HardCap: 10}, Limits: ws.Limits{Rate: -1}})
	s.rdb.XGroupCreateMkStream(t.Context(), "{"+s.name+"}:in", "workers", "0")
	c := n.join(t, "lobby")
	for i := range 100 {
		c.send(map[string]any{"kind": "send", "id": strconv.Itoa(i), "room": "lobby", "type": "say"})
		f, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind == "error" {
			equal(t, "code", "overloaded", f.Code)
			return
		}
	}
	t.Error("100 messages were taken, with a HardCap of 10")
}

func TestCalls(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	cfg := ws.HubConfig{
		Authenticate: byHeader,
		Calls:        s.services(t),
		CallTypes:    []string{"double", "count", "sleep", "whoami", "fail", "text", "nobody"},
	}
	c := s.node(t, cfg).hello(t, as("ann"), map[string]any{})
	call := func(id, typ string, data any, more ...string) {
		m := map[string]any{"kind": "call", "id": id, "type": typ, "data": data}
		if len(more) > 0 {
			m["stream"] = true
		}
		c.send(m)
	}
	call("1", "double", 4)
	equal(t, "reply", "8", string(c.want("reply").Data))
	call("2", "whoami", map[string]any{"ws-user": "root"})
	equal(t, "who the service sees", `["ann","`+c.hi.Session+`"]`, string(c.want("reply").Data))
	call("3", "text", nil)
	equal(t, "text", `"say \"hi\""`, string(c.want("reply").Data))
	call("4", "drop-tables", nil)
	equal(t, "id", "4", c.refused("no_handler").ID)
	call("5", "nobody", nil)
	c.refused("no_handler")
	call("6", "fail", nil)
	if f := c.refused("internal"); f.Message == "a detail" {
		t.Errorf("it tells %q", f.Message)
	}
	call("7", "double", "x")
	c.refused("invalid_request")
	call("8", "count", 200, "stream")
	for i := range 200 {
		f := c.want("part")
		equal(t, "part", []string{"8", strconv.Itoa(i)}, []string{f.ID, string(f.Data)})
	}
	c.want("end")

	cfg.MaxCalls = 2
	n := s.node(t, cfg)
	c = n.hello(t, as("ann"), map[string]any{})
	call("9", "sleep", nil)
	call("9", "sleep", nil)
	c.refused("bad_frame") // the id is in use
	call("10", "sleep", nil)
	call("11", "sleep", nil)
	equal(t, "id", "11", c.refused("overloaded").ID)
	c.send(map[string]any{"kind": "cancel", "id": "9"})
	equal(t, "id", "9", c.refused("cancelled").ID)
	call("12", "double", 1)
	equal(t, "id", "12", c.want("reply").ID)
	_ = c.conn.CloseNow() // the rest is cancelled
	redistest.Soon(t, "the socket is gone", func() bool { return n.hub.Stats().Sockets == 0 })
}

// Mistakes in the configuration are reported before anything runs.
func TestValidate(t *testing.T) {
	if err := ws.NewHub(newStand(t).rdb, "chat", ws.HubConfig{}).Validate(); err != nil {
		t.Error(err)
	}
	bad := ws.NewHub(
		(*redis.Client)(nil),
		"a{b}c",
		ws.HubConfig{
			Limits:    ws.Limits{MaxRooms: -1, MaxMessage: 10 << 20, Burst: -1},
			Slow:      7,
			Origins:   []string{"["},
			CallTypes: []string{"x"},
			Tuning:    ws.Tuning{MaxLen: 10, HardCap: 5},
		},
	)
	err := bad.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"rdb", "hub", "MaxRooms", "MaxMessage", "Slow", "Origins", "CallTypes", "HardCap",
		"Burst"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is missing in: %v", part, err)
		}
	}
	if err := bad.Run(context.Background()); err == nil {
		t.Error("it runs")
	}
}
