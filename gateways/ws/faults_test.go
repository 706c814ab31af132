package ws_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func TestFault_G1_FaultsHaveTheFramesID(t *testing.T) {
	t.Parallel()
	c := newStand(t).node(t, ws.HubConfig{Limits: ws.Limits{Rate: -1}}).join(t, "lobby")
	long, deep := strings.Repeat("x", 200), strings.Repeat("[", 50)+strings.Repeat("]", 50)
	for i, frame := range []string{
		`{"kind":"join","room":"` + long + `","id":"%d"}`,
		`{"kind":"send","type":"` + long + `","data":{"id":"9"},"id":"%d"}`,
		`{"kind":"send","type":"say","data":` + deep + `,"id":"%d"}`,
		`{"kind":"send","type":"say","data":[{"id":"9"},{"id":"9"}],"kind":"send","id":"%d"}`,
		`{"kind":"send","type":"say","data":{"a":1,"a":2},"id":"%d"}`,
		`{"kind":"send","evil":1,"id":"%d"}`,
		`{"kind":"odd","id":"%d"}`,
		`{"id":"%d","kind":"send","data":nonsense}`,
		`{"kind":"call","type":"","id":"%d"}`,
	} {
		c.raw(fmt.Sprintf(frame, i))
		equal(t, frame, strconv.Itoa(i), c.refused("bad_frame").ID)
	}
	c.send(map[string]any{"kind": "join", "room": "attic", "since": "yesterday", "id": "a"})
	equal(t, "id", "a", c.refused("bad_cursor").ID)
}

func TestFault_G1_HelloIsTakenInPart(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Limits: ws.Limits{MaxMessage: 20_000, MaxRooms: 5, MaxCalls: 3}})
	long := strings.Repeat("x", 200)
	c := n.join(t, "a", long, "b", "", "c", "d", "a", "e", "f", "g")
	equal(t, "rooms", []string{"a", "b", "c", "d", "e"}, c.hi.Rooms)
	equal(t, "refused", []string{long, "", "f", "g"}, c.hi.Refused)
	equal(
		t,
		"reasons",
		map[string]string{long: "bad_frame", "": "bad_frame", "f": "too_many_rooms", "g": "too_many_rooms"},
		c.hi.Reasons,
	)
	equal(t, "limits", map[string]int{"message": 20_000, "rooms": 5, "calls": 3, "name": 128, "id": 64}, c.hi.Limits)
	again := n.dial(t, nil)
	again.send(map[string]any{"kind": "hello", "id": "h1", "cursor": "yesterday"})
	equal(t, "id", "h1", again.refused("bad_cursor").ID)
	again.send(map[string]any{"kind": "hello", "id": "h2", "rooms": []string{"a"}})
	equal(t, "id", "h2", again.want("hello").ID)
}

// A request that cannot succeed is rejected once, and the session of the page continues.
func TestFault_G1_PageGoesOn(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Limits: ws.Limits{Rate: -1, MaxMessage: 4000, MaxRooms: 10}})
	s.echo(t)
	long := strings.Repeat("x", 200)
	rooms := []string{"lobby", long}
	for i := range 70 {
		rooms = append(rooms, "room"+strconv.Itoa(i))
	}
	p := newPage(t, n.srv.URL)
	p.do("connect", map[string]any{"rooms": rooms, "since": "yesterday"})
	early := p.begin("send", "say", said{Text: strings.Repeat("x", 5000)}, map[string]any{"room": "lobby"})
	redistest.Soon(t, "it is open", func() bool { return len(p.of("open")) == 1 })
	equal(t, "too large, before the limits were known", "too_large", early().Error)
	equal(t, "errors", 1, len(p.of("error")))
	if text := string(p.of("error")[0].Data); !strings.Contains(text, "bad_cursor") {
		t.Errorf("the error is %s", text)
	}
	for _, part := range []string{long + `":"bad_frame"`, `"room69":"too_many_rooms"`} {
		if text := string(p.of("open")[0].Data); !strings.Contains(text, part) {
			t.Errorf("%s is missing in the status %s", part, text)
		}
	}
	p.fails("too_large", "send", "say", said{Text: strings.Repeat("x", 5000)}, map[string]any{"room": "lobby"})
	p.fails("too_large", "send", "say", said{Text: strings.Repeat("ü", 2000)}, map[string]any{"room": "lobby"})
	p.fails("bad_frame", "join", long)
	p.fails("too_many_rooms", "join", "one more")
	p.fails("bad_frame", "send", "say", nested(40), map[string]any{"room": "lobby"})
	p.do("send", "say", said{N: 7}, map[string]any{"room": "lobby"})
	redistest.Soon(t, "the message", func() bool { return len(p.of("msg")) == 1 })
	equal(t, "sockets", uint64(1), n.hub.Stats().Opened)
	p.do("close")
}

// A hello that is too large for the server is sent in parts.
func TestFault_G1_LargeHello(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Limits: ws.Limits{Rate: -1, MaxMessage: 1500}})
	var rooms []string
	for i := range 30 {
		rooms = append(rooms, strings.Repeat("r", 80)+strconv.Itoa(i))
	}
	p := newPage(t, n.srv.URL)
	p.do("connect", map[string]any{"rooms": rooms})
	redistest.Soon(t, "it is in all rooms", func() bool { return n.hub.Stats().Rooms == len(rooms) })
	p.do("close")
}

func nested(depth int) any {
	var v any = 1
	for range depth {
		v = []any{v}
	}
	return v
}

// A page learns that its user is refused, and connects again when asked to.
func TestFault_G1_PageLearnsOf401And403(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	verdict := make(chan error, 1)
	n := s.node(t, ws.HubConfig{Authenticate: func(r *http.Request) (gateways.Identity, error) {
		err := <-verdict
		verdict <- err
		return gateways.Identity{User: "ann"}, err
	}})
	verdict <- errors.New("no")
	p := newPage(t, n.srv.URL)
	p.do("connect", map[string]any{"rooms": []string{"lobby"}})
	waiting := p.begin("send", "say", said{}, map[string]any{"room": "lobby"})
	equal(t, "what waits", "unauthorized", waiting().Error)
	p.fails("unauthorized", "send", "say", said{})
	redistest.Soon(t, "the status", func() bool { return len(p.of("refused")) == 1 })
	if text := string(p.of("refused")[0].Data); !strings.Contains(text, `"code":401`) {
		t.Errorf("the status is %s", text)
	}
	<-verdict
	verdict <- gateways.Errorf(gateways.CodeForbidden, "banned")
	p.do("retry")
	redistest.Soon(t, "the next status", func() bool { return len(p.of("refused")) == 2 })
	if text := string(p.of("refused")[1].Data); !strings.Contains(text, `"code":403`) {
		t.Errorf("the status is %s", text)
	}
	<-verdict
	verdict <- nil
	p.do("retry")
	p.do("send", "say", said{}, map[string]any{"room": "lobby"})
	equal(t, "refused", uint64(2), n.hub.Stats().Refused)

	// Programs that do not ask for the subprotocol receive the HTTP status, and so do foreign
	// pages.
	<-verdict
	verdict <- errors.New("no")
	for _, c := range []struct {
		line string
		want int
	}{{"X-Plain: 1", 401}, {"Origin: https://evil.example", 403}} {
		if res, _, _ := n.handshake(t, "", c.line); res.StatusCode != c.want {
			t.Errorf("%s: %s", c.line, res.Status)
		}
	}
	res, _, br := n.handshake(t, "", "Sec-WebSocket-Protocol: streamerson.v1", "Origin: https://evil.example")
	equal(t, "status", 101, res.StatusCode)
	equal(t, "close", 4403, closeCode(t, br))
	p.do("close")
}

// A connection attempt without an answer times out.
func TestFault_G1_ConnectTimeout(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // it never accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newPage(t, "http://"+l.Addr().String())
	p.do("connect", map[string]any{"connectTimeout": 50})
	redistest.Soon(t, "it tries again", func() bool { return len(p.of("connecting")) >= 3 })
	if text := string(p.of("connecting")[0].Data); !strings.Contains(text, "timed out") {
		t.Errorf("the status is %s", text)
	}
	p.do("close")
}

// If a server closes each connection right after its hello, the page retries with growing delays.
func TestFault_G1_BackoffResetsOnProgress(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{ws.Subprotocol}})
		if err != nil {
			return
		}
		_, _, _ = conn.Read(r.Context())
		_ = conn.Write(
			r.Context(),
			websocket.MessageText,
			[]byte(`{"kind":"hello","session":"s","resume":"r","cursor":"0-0"}`),
		)
		_ = conn.Close(websocket.StatusInternalError, "")
	}))
	defer srv.Close()
	p := newPage(t, srv.URL)
	p.do("connect", map[string]any{"maxDelay": 100_000, "silence": 0, "connectTimeout": 0})
	redistest.Soon(t, "it tries again", func() bool { return len(p.of("connecting")) >= 5 })
	delays := p.do("delays")
	p.do("close")
	var got []float64
	for part := range strings.SplitSeq(strings.Trim(delays, "[]"), ",") {
		d, _ := strconv.ParseFloat(part, 64)
		got = append(got, d)
	}
	for i := range 5 {
		if i >= len(got) || got[i] < float64(int(10)<<i)/2 {
			t.Fatalf("delays %v: the %dth is too short", got, i)
		}
	}
}

// The end of an old socket that arrives late is recognized, and a resumed session is not a new one.
func TestFault_G6_PresenceTellsSocketsApart(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	cfg := ws.HubConfig{Authenticate: byHeader, Presence: true}
	one, two := s.node(t, cfg), s.node(t, cfg)
	heard := s.listen(t)
	old := one.hello(t, as("ann"), map[string]any{"rooms": []string{"lobby"}})
	redistest.Soon(t, "the first socket", func() bool { return len(heard.of(ws.Connected, ws.Joined)) == 2 })
	now := two.hello(t, as("ann"), map[string]any{"rooms": []string{"lobby"}, "resume": old.hi.Resume})
	equal(t, "session", old.hi.Session, now.hi.Session)
	now.send(map[string]any{"kind": "join", "room": "attic"})
	now.want("joined")
	redistest.Soon(t, "the second socket", func() bool { return len(heard.of(ws.Connected, ws.Joined)) == 5 })
	_ = old.conn.CloseNow()
	all := []ws.EventKind{ws.Connected, ws.Joined, ws.Left, ws.Disconnected}
	redistest.Soon(t, "all events", func() bool { return len(heard.of(all...)) == 7 })
	events := heard.of(all...)
	first, second := events[0].Socket, events[2].Socket
	if first == "" || second == "" || first == second {
		t.Fatalf("sockets %q and %q", first, second)
	}
	var got []string
	for _, e := range events {
		got = append(
			got,
			fmt.Sprint(e.Kind, " ", e.Room, " ", map[string]int{first: 1, second: 2}[e.Socket], " ", e.Resumed),
		)
	}
	equal(
		t,
		"events",
		[]string{
			"connected  1 false",
			"joined lobby 1 false",
			"connected  2 true",
			"joined lobby 2 true",
			"joined attic 2 false",
			"left lobby 1 false",
			"disconnected  1 false",
		},
		got,
	)
}

func TestFault_G6_JoinWithHistory(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Limits: ws.Limits{Rate: -1}})
	t.Run("past comes first, each once", func(t *testing.T) {
		c := n.join(t)
		const before, after = 600, 400
		var list []ws.Message[said]
		for i := range before {
			list = append(list, room("lobby", i), room("other", i))
		}
		s.tell(t, list...)
		writing := make(chan error, 1)
		go func() { // while it joins
			var live []ws.Message[said]
			for i := range after {
				live = append(live, room("lobby", before+i))
			}
			writing <- flow.New("tell", flow.To(source.Of(live...), ws.Outbound[said](s.rdb, s.name,
				sink.StreamConfig[ws.Message[said]]{Tuning: writer.Tuning{Depth: 3}}))).Run(t.Context())
		}()
		c.send(map[string]any{"kind": "join", "id": "1", "room": "lobby", "since": "0"})
		var got []int
		live := false
		for len(got) < before+after {
			f, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			switch f.Kind {
			case "past":
				if live || f.ID != "1" || f.Room != "lobby" {
					t.Fatalf("%v after a live one: %v", f, live)
				}
				got = append(got, f.n())
			case "msg":
				live = true
				got = append(got, f.n())
			case "joined":
				equal(t, "id", "1", f.ID)
			default:
				t.Fatal(f)
			}
		}
		equal(t, "messages", count(before+after), got)
		if err := <-writing; err != nil {
			t.Error(err)
		}
	})
	t.Run("since a cursor, also when it is in the room", func(t *testing.T) {
		c := n.join(t, "hall")
		s.tell(t, room("hall", 1), room("hall", 2))
		first := c.want("msg")
		c.want("msg")
		c.send(map[string]any{"kind": "join", "id": "2", "room": "hall", "since": first.Cursor})
		equal(t, "past", 2, c.want("past").n())
		equal(t, "joined", frame{Kind: "joined", ID: "2", Room: "hall"}, c.want("joined"))
		c.send(map[string]any{"kind": "join", "id": "3", "room": "hall", "since": "99999999999999"})
		equal(t, "joined, with a time to come", frame{Kind: "joined", ID: "3", Room: "hall"}, c.want("joined"))
		s.tell(t, room("hall", 3))
		equal(t, "live", 3, c.want("msg").n())
	})
	t.Run("what is gone is told", func(t *testing.T) {
		c, watcher := n.join(t), n.join(t, "cellar")
		s.tell(t, room("cellar", 1), room("cellar", 2))
		watcher.numbers(2) // the process has read them
		s.rdb.XTrimMaxLen(t.Context(), "{"+s.name+"}:out", 1)
		c.send(map[string]any{"kind": "join", "id": "1", "room": "cellar", "since": "1-1"})
		equal(t, "past", 2, c.want("past").n())
		if f := c.want("joined"); f.From != "1-1" || f.To == "" {
			t.Errorf("%v", f)
		}
	})
	t.Run("in a page", func(t *testing.T) {
		watcher := n.join(t, "tower")
		s.tell(t, room("tower", 1), room("tower", 2))
		watcher.numbers(2)
		p := newPage(t, n.srv.URL)
		p.do("connect", map[string]any{})
		p.do("join", "tower", map[string]any{"since": "0"})
		s.tell(t, room("tower", 3))
		redistest.Soon(t, "three messages", func() bool { return len(p.of("msg")) == 3 })
		equal(t, "messages", []int{1, 2, 3}, p.numbers())
		equal(
			t,
			"past",
			[]bool{true, true, false},
			[]bool{p.of("msg")[0].Past, p.of("msg")[1].Past, p.of("msg")[2].Past},
		)
		p.do("close")
	})
}

// memory returns the memory of a key in Redis.
func (s *stand) memory(t *testing.T, key string) int64 {
	t.Helper()
	n, err := s.rdb.MemoryUsage(t.Context(), key, 0).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return n
}

func TestFault_S1_HubsHaveBudgetsOfBytes(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	const budget = 512 << 10
	n := s.node(t, ws.HubConfig{Limits: ws.Limits{Rate: -1, UserBytes: -1}, Tuning: ws.Tuning{MaxBytes: budget}})
	c := n.join(t, "lobby")
	in := "{" + s.name + "}:in"
	s.rdb.XGroupCreateMkStream(t.Context(), in, "workers", "0")
	say := func(i int) frame {
		c.send(
			map[string]any{
				"kind": "send",
				"id":   strconv.Itoa(i),
				"room": "lobby",
				"type": "say",
				"data": said{N: i, Text: strings.Repeat("x", 40<<10)},
			},
		)
		f, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	taken := 0
	for ; taken < 100; taken++ {
		if f := say(taken); f.Kind == "error" {
			equal(t, "code", "overloaded", f.Code)
			break
		}
	}
	if taken < 8 || taken > 14 {
		t.Errorf("%d unread messages of 40 KiB were accepted", taken)
	}
	s.echo(t) // messages that the workers have handled make room
	redistest.Soon(t, "there is room", func() bool { return say(1000).Kind != "error" })
	for i := range 60 {
		if f := say(i); f.Kind == "error" {
			redistest.Soon(t, "the worker makes room", func() bool { return say(2000+i).Kind != "error" })
		}
	}
	if m := s.memory(t, in); m > budget+budget/4 {
		t.Errorf("%s takes %d bytes of %d", in, m, budget)
	}

	// The log has the same limit.
	var list []ws.Message[said]
	for i := range 60 {
		list = append(
			list,
			ws.Message[said]{To: ws.All, Type: "x", Value: said{N: i, Text: strings.Repeat("x", 40<<10)}},
		)
	}
	run(
		t,
		ws.Outbound[said](
			s.rdb,
			s.name,
			sink.StreamConfig[ws.Message[said]]{Tuning: writer.Tuning{MaxBytes: budget, Depth: 4}},
		),
		list...)
	if m := s.memory(t, "{"+s.name+"}:out"); m > budget+budget/2 {
		t.Errorf("the log takes %d bytes of %d", m, budget)
	}
}

// The sockets of a user share its limit. Sockets of other users do not wait.
func TestFault_S1_UsersHaveBudgetsOfBytes(t *testing.T) {
	t.Parallel()
	n := newStand(t).node(t, ws.HubConfig{Authenticate: byHeader,
		Limits: ws.Limits{Rate: -1, UserBytes: 1, UserBurst: 4000, MaxMessage: 4000},
		Tuning: ws.Tuning{CloseTimeout: 100 * time.Millisecond}})
	one, two, other := n.hello(
		t,
		as("ann"),
		map[string]any{},
	), n.hello(
		t,
		as("ann"),
		map[string]any{},
	), n.hello(
		t,
		as("bob"),
		map[string]any{},
	)
	say := map[string]any{"kind": "send", "id": "1", "type": "say", "data": strings.Repeat("x", 2500)}
	one.send(say)
	one.want("ack")
	two.send(say)
	redistest.Soon(t, "the second socket waits", func() bool { return n.hub.Stats().Limited == 1 })
	other.send(say)
	other.want("ack")
	equal(t, "said", uint64(2), n.hub.Stats().Said)
	eve := n.hello(t, as("eve"), map[string]any{})
	eve.send(say)
	eve.want("ack")
	_ = eve.conn.CloseNow()
	redistest.Soon(t, "it is gone", func() bool { return n.hub.Stats().Sockets == 3 })
	eve = n.hello(t, as("eve"), map[string]any{}) // a new socket does not restore the spent budget
	eve.send(say)
	redistest.Soon(t, "it waits", func() bool { return n.hub.Stats().Limited == 2 })
}

// Clients learn at once that Redis is out of memory. Messages that the workers have handled make
// room.
func TestFault_S1_OutOfMemory(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := &stand{rig.Redis(t, srv), redistest.Key(t)}
	n := s.node(
		t,
		ws.HubConfig{Limits: ws.Limits{Rate: -1, UserBytes: -1}, Tuning: ws.Tuning{SendTimeout: redistest.Patience}},
	)
	c := n.join(t, "lobby")
	heard := s.listen(t)
	i := 0
	say := func() frame {
		i++
		c.send(
			map[string]any{
				"kind": "send",
				"id":   strconv.Itoa(i),
				"room": "lobby",
				"type": "say",
				"data": said{N: i, Text: strings.Repeat("x", 50<<10)},
			},
		)
		f, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	equal(t, "answer", "ack", say().Kind)
	used := func() (n int) {
		info := s.rdb.InfoMap(t.Context(), "memory").Item("Memory", "used_memory")
		n, _ = strconv.Atoi(info)
		return n
	}
	s.rdb.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(used()+2<<20))
	full := false
	for range 200 {
		if f := say(); f.Kind == "error" {
			equal(t, "code", "overloaded", f.Code)
			full = true
			break
		}
	}
	if !full {
		t.Fatal("it was never full")
	}
	redistest.Soon(t, "the workers have heard all", func() bool { return len(heard.of(ws.Said)) > 0 })
	redistest.Soon(t, "it recovers", func() bool { return say().Kind == "ack" })
}

func TestFault_G7_DisconnectsAUser(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	one, two := s.node(t, ws.HubConfig{Authenticate: byHeader}), s.node(t, ws.HubConfig{Authenticate: byHeader})
	ann, again, bob := one.hello(
		t,
		as("ann"),
		map[string]any{},
	), two.hello(
		t,
		as("ann"),
		map[string]any{},
	), two.hello(
		t,
		as("bob"),
		map[string]any{},
	)
	other := one.hello(t, as("eve"), map[string]any{})
	if err := ws.Disconnect(t.Context(), s.rdb, s.name, ws.User("ann"), "logged out"); err != nil {
		t.Fatal(err)
	}
	if err := ws.Disconnect(t.Context(), s.rdb, s.name, ws.Session(bob.hi.Session), ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{ann, again, bob} {
		c.closed(websocket.StatusPolicyViolation)
	}
	back := one.hello(t, as("ann"), map[string]any{"resume": ann.hi.Resume, "cursor": ann.hi.Cursor})
	s.tell(t, ws.Message[said]{To: ws.All, Value: said{N: 1}})
	for _, c := range []*client{back, other} {
		equal(t, "what those hear that stay", 1, c.want("msg").n())
	}
	for _, bad := range []error{
		ws.Disconnect(t.Context(), s.rdb, "{}", ws.All, ""), ws.Disconnect(t.Context(), nil, s.name, ws.All, ""),
		ws.Disconnect(t.Context(), s.rdb, s.name, ws.Room("lobby"), ""), ws.Disconnect(t.Context(), s.rdb, s.name,
			"ann", ""),
		ws.Disconnect(t.Context(), s.rdb, s.name, ws.All, strings.Repeat("x", 200)),
	} {
		if bad == nil {
			t.Error("a mistake is not told")
		}
	}
}

// A secret that Redis has lost is shared again, by processes that know it and by new ones.
func TestFault_G7_SecretIsSharedAgain(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	key := "{" + s.name + "}:seal"
	one := s.node(t, ws.HubConfig{})
	old := one.join(t)
	s.rdb.Set(t.Context(), key, strings.Repeat("n", 40), 0) // as done by a process that starts after the loss
	two := s.node(t, ws.HubConfig{})
	fresh := two.join(t)
	resumes := func(n *node, token string) bool {
		c := n.hello(t, nil, map[string]any{"resume": token})
		_ = c.conn.CloseNow()
		return c.hi.Resumed
	}
	redistest.Soon(t, "the old session goes on at the new process", func() bool { return resumes(two, old.hi.Resume) })
	redistest.Soon(
		t,
		"the new session goes on at the old process",
		func() bool { return resumes(one, fresh.hi.Resume) },
	)
	s.rdb.Del(t.Context(), key)
	redistest.Soon(
		t,
		"the secrets are back",
		func() bool { return len(strings.Fields(s.rdb.Get(t.Context(), key).Val())) == 2 },
	)
}

func TestFault_S7_ControlFramesCountAgainstTheRate(t *testing.T) {
	t.Parallel()
	for name, flood := range map[string]byte{"pings": 0x89, "pongs": 0x8a} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newStand(t).node(t, ws.HubConfig{Limits: ws.Limits{Rate: 1. / 3600, Burst: 20}})
			_, conn, br := n.handshake(t, "")
			hello := `{"kind":"hello"}`
			_, _ = conn.Write(append(header(0x81, len(hello)), hello...))
			for range 200 {
				_, _ = conn.Write(header(flood, 0))
			}
			text := `{"kind":"ping"}`
			_, _ = conn.Write(append(header(0x81, len(text)), text...))
			redistest.Soon(t, "it waits", func() bool { return n.hub.Stats().Limited == 1 })
			equal(t, "frames", uint64(1), n.hub.Stats().Received)
			go func() { _, _ = io.Copy(io.Discard, br) }() // ends with the connection
			_ = conn.Close()
		})
	}
}

func TestFault_S7_CursorsOfTheFuture(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{})
	s.tell(t, room("lobby", 1))
	at := n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": "99999999999999"})
	id := n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": "99999999999999-5"})
	if g := id.want("gap"); g.From != "99999999999999-5" {
		t.Errorf("the gap is %v", g)
	}
	s.tell(t, room("lobby", 2))
	for _, c := range []*client{at, id} {
		equal(t, "message", 2, c.want("msg").n())
	}
}

func TestFault_S7_IdentitiesAreUTF8(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"\xff", "a\xc3", "", "a\x00b", strings.Repeat("x", 129)} {
		n := newStand(
			t,
		).node(t, ws.HubConfig{Authenticate: func(*http.Request) (gateways.Identity, error) {
			return gateways.Identity{User: user}, nil
		}})
		if res, _, _ := n.handshake(t, ""); res.StatusCode != http.StatusInternalServerError {
			t.Errorf("user %q: %s", user, res.Status)
		}
	}
}

// A full hub leaves room for health checks, on a server with as many connections as the hub has
// sockets.
func TestFault_S7_SocketsLeaveRoomForHealthChecks(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	late := redistest.Patience
	hub := ws.NewHub(s.rdb, s.name, ws.HubConfig{Tuning: ws.Tuning{ReadTimeout: late, PingEvery: late}})
	rig.Start(t, hub.Graph())
	redistest.Soon(t, "the hub takes sockets", func() bool { return hub.Ready() == nil })
	mux := http.NewServeMux()
	mux.Handle("GET /chat", hub)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
	l, err := web.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- web.Serve(ctx, l, mux, web.ServerConfig{MaxConnections: 8, HeaderTimeout: late}) }()
	defer func() { stop(); <-served }()
	var open []*websocket.Conn
	for range 20 {
		dial, cancel := context.WithTimeout(t.Context(), redistest.Patience)
		conn, res, err := websocket.Dial(
			dial,
			"ws://"+l.Addr().String()+"/chat",
			&websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}},
		)
		cancel()
		if err != nil {
			equal(t, "status", http.StatusServiceUnavailable, res.StatusCode)
			break
		}
		open = append(open, conn)
	}
	equal(t, "sockets", 7, len(open))
	for range 3 {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/healthz", nil)
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		equal(t, "health", "fine", string(bytes.TrimSpace(body)))
	}
	_ = open[0].CloseNow()
	redistest.Soon(t, "a place is free", func() bool { return hub.Stats().Sockets == 6 })
	conn, _, err := websocket.Dial(t.Context(), "ws://"+l.Addr().String()+"/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(open, conn) {
		_ = c.CloseNow()
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestFault_S8_SecretsAreLongAndCanBeGiven(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	key := "{" + s.name + "}:seal"
	short, first, second := strings.Repeat("s", 31), strings.Repeat("1", 32), strings.Repeat("2", 32)
	if err := ws.NewHub(s.rdb, s.name, ws.HubConfig{Secrets: []string{first, short}}).Validate(); err == nil ||
		!strings.Contains(err.Error(), "Secrets") {
		t.Errorf("a short secret: %v", err)
	}
	s.rdb.Set(t.Context(), key, short, 0)
	err := ws.NewHub(s.rdb, s.name, ws.HubConfig{}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "31 bytes") || strings.Contains(err.Error(), short) {
		t.Errorf("a short secret in Redis: %v", err)
	}
	one, two := s.node(
		t,
		ws.HubConfig{Secrets: []string{first}},
	), s.node(
		t,
		ws.HubConfig{Secrets: []string{second, first}},
	)
	a := one.join(t)
	b := two.hello(t, nil, map[string]any{"resume": a.hi.Resume})
	if !b.hi.Resumed || b.hi.Session != a.hi.Session {
		t.Errorf("a session of the secret before: %v", b.hi)
	}
	if c := one.hello(t, nil, map[string]any{"resume": b.hi.Resume}); c.hi.Resumed {
		t.Errorf("a session of a secret that it was not given: %v", c.hi)
	}
	equal(t, "the secret in Redis", short, s.rdb.Get(t.Context(), key).Val())
}
