package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// as connects as a user with the rights that a command line prints.
func (s *stand) as(t *testing.T, user, line string) redis.UniversalClient {
	t.Helper()
	rdb, err := redisio.Connect(t.Context(), s.setUser(t, user, line), redisio.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// refused returns what the server has refused since the last call, except harmless commands.
func (s *stand) refused(t *testing.T) (all []string) {
	t.Helper()
	log, err := s.rdb.ACLLog(t.Context(), 1000).Result()
	if err != nil {
		t.Fatal(err)
	}
	// INFO, COMMAND, and the probes on scratch keys. If a role needs one of these for its work, the
	// test fails elsewhere.
	harmless := []string{"info", "command", "xcfgset", "del", "xack", "xreadgroup", "xgroup|create", "xgroup|destroy"}
	for _, e := range log {
		if !slices.Contains(harmless, e.Object) &&
			!strings.HasPrefix(e.Object, "redisio:probe:") {
			all = append(all, fmt.Sprintf("%s: %s %s (%s)", e.Username, e.Reason, e.Object, e.Context))
		}
	}
	if err := s.rdb.Do(t.Context(), "acl", "log", "reset").Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// roles is a topic "orders", a topic "stock" and a hub "chat" of a server, and a user for each role.
type roles struct {
	*stand
	pricing, ann, bob, web, worker redis.UniversalClient

	began     chan string
	cancelled chan error
	stop      []func(*testing.T)
}

func newRoles(t *testing.T) *roles {
	server := redistest.Start(t)
	r := &roles{stand: &stand{rdb: server.Client(t), url: server.URL(), key: "no key"}}
	r.pricing = r.as(t, "pricing", "acl -service orders,stock")
	r.ann, r.bob = r.as(t, "ann", "acl -client orders,stock"), r.as(t, "bob", "acl -client orders")
	r.web = r.as(t, "web", "acl -hub chat -client orders")
	r.worker = r.as(t, "worker", "acl -read {chat}:in -group workers -write {chat}:out -max-len -max-bytes")
	r.began, r.cancelled = make(chan string, 1), make(chan error, 1)
	r.refused(t)
	return r
}

// start runs a graph until close.
func (r *roles) start(t *testing.T, g *flow.Graph) {
	t.Helper()
	run, err := g.Start(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	r.stop = append(r.stop, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
		defer cancel()
		if _, err := run.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
	redistest.Soon(t, "the graph is ready", func() bool { return run.Ready() == nil })
}

// close ends everything that was started. Each end takes as long as a blocking read, so all end
// concurrently.
func (r *roles) close(t *testing.T) {
	var all sync.WaitGroup
	for _, stop := range r.stop {
		all.Go(func() { stop(t) })
	}
	all.Wait()
	r.stop = nil
}

// serve runs a service in two processes with different handlers, and a graph that answers.
func (r *roles) serve(t *testing.T) (handedOn func() uint64) {
	svc := gateways.NewService(r.pricing, "orders", gateways.ServiceConfig{})
	gateways.Handle(svc, "price", func(_ context.Context, v string) (string, error) { return v, nil })
	gateways.HandleStream(svc, "parts", func(_ context.Context, v string, send func(string) error) error {
		return errors.Join(send(v), send(v), send(v))
	})
	gateways.HandleVoid(svc, "hangs", func(ctx context.Context, v string) error {
		r.began <- v
		<-ctx.Done()
		r.cancelled <- context.Cause(ctx)
		return ctx.Err()
	})
	gateways.HandleVoid(
		svc,
		"fails",
		func(context.Context, string) error { return flow.Reject(errors.New("it fails")) },
	)
	other := gateways.NewService(r.pricing, "orders", gateways.ServiceConfig{})
	gateways.Handle(other, "other", func(_ context.Context, v string) (string, error) { return v, nil })
	stock := gateways.Requests[string](r.pricing, "stock", source.StreamConfig[string]{})
	r.start(t, svc.Graph())
	r.start(t, other.Graph())
	r.start(t, flow.New("stock", gateways.Reply(stock, r.pricing, "stock", gateways.ReplyConfig{})))
	return func() uint64 { return svc.Stats().HandedOn + other.Stats().HandedOn }
}

// ask makes a client do everything that clients do.
func (r *roles) ask(t *testing.T, rdb redis.UniversalClient, topic string, handedOn func() uint64) {
	t.Helper()
	c := gateways.NewClient(
		rdb,
		topic,
		gateways.ClientConfig{Timeout: redistest.Patience, MaxWait: -1, Window: 1, MaxLen: 1},
	)
	r.stop = append(r.stop, func(t *testing.T) {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	call := func(typ string) {
		t.Helper()
		if v, err := gateways.Call[string, string](c, typ)(t.Context(), "tea"); err != nil || v != "tea" {
			t.Fatal(typ, v, err)
		}
	}
	if handedOn == nil {
		call("stock")
		return
	}
	was := handedOn()
	redistest.Soon(t, "a request was handed on", func() bool {
		for _, typ := range []string{"price", "other", "other"} { // an odd number: idle processes take turns
			call(typ)
		}
		return handedOn() > was
	})
	n := 0
	for v, err := range gateways.Stream[string, string](c, "parts")(t.Context(), "tea") {
		if n++; err != nil || v != "tea" {
			t.Fatal(v, err)
		}
	}
	if n != 3 {
		t.Errorf("%d parts", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := gateways.Call[string, []byte](c, "hangs")(ctx, "tea")
		ended <- err
	}()
	<-r.began
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-r.cancelled
	dead := r.rdb.XLen(t.Context(), "orders:dead").Val()
	if err := gateways.Send[string](c, "fails")(t.Context(), "tea"); err != nil {
		t.Error(err)
	}
	redistest.Soon(
		t,
		"there is a dead letter",
		func() bool { return r.rdb.XLen(t.Context(), "orders:dead").Val() > dead },
	)
	// Clients also clean up now and then, and check what is waiting.
	if _, err := admin.Trim(t.Context(), rdb, topic, admin.TrimOptions{MaxLen: 1}); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		rdb.XDel(t.Context(), topic, "0-1").Err(),
		rdb.MemoryUsage(t.Context(), topic).Err(),
		rdb.XInfoGroups(t.Context(), topic).Err(),
		rdb.XLen(t.Context(), topic).Err(),
	} {
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Error(err)
		}
	}
}

// publish sends events to a service, a client and a relay.
func (r *roles) publish(t *testing.T) {
	t.Helper()
	e := events.NewPublisher(r.pricing, "orders", events.PublisherConfig{MaxLen: 10})
	r.stop = append(r.stop, func(t *testing.T) {
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	heard := make(chan string, 1000)
	for _, rdb := range []redis.UniversalClient{r.pricing, r.ann} {
		created := events.Subscribe[string](rdb, "orders", "created", events.SubscribeConfig{})
		r.start(t, flow.New("hears", flow.To(created, sink.Func(func(_ context.Context, v string) error {
			heard <- v
			return nil
		}))))
	}
	for range 12 { // more than are kept in all, and not more before both have heard them
		for range 10 {
			if err := events.Publish[string](e, "created")(t.Context(), "o-1"); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			<-heard
		}
	}
	redistest.Soon(
		t,
		"old events are trimmed",
		func() bool { return r.rdb.XLen(t.Context(), "{orders}:events").Val() < 240 },
	)

	feed := sse.New(r.ann, sse.Config{Feed: func(*http.Request, gateways.Identity) (sse.Feed, error) {
		return sse.Feed{Key: events.Key("orders"), All: true}, nil
	}})
	page := httptest.NewServer(feed)
	defer page.Close()
	defer func() {
		if err := feed.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", "0")
	resp, err := page.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") {
			return
		}
	}
	t.Errorf("no event from %s", resp.Status)
}

// chat makes a socket send a message, receive it, call the service, and close.
func (r *roles) chat(t *testing.T) {
	t.Helper()
	c := gateways.NewClient(r.web, "orders", gateways.ClientConfig{Timeout: redistest.Patience, MaxWait: -1})
	r.stop = append(r.stop, func(t *testing.T) {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	hub := ws.NewHub(r.web, "chat", ws.HubConfig{Calls: c, CallTypes: []string{"price"}})
	r.start(t, hub.Graph())
	redistest.Soon(t, "the hub takes sockets", func() bool { return hub.Ready() == nil })
	said := ws.Inbound[string](
		r.worker,
		"chat",
		source.StreamConfig[ws.Event[string]]{Tuning: reader.Tuning{DelayedEvery: -1}},
	)
	echo := operators.Map(said, func(_ context.Context, e ws.Event[string]) (ws.Message[string], error) {
		return ws.Message[string]{To: ws.Room(e.Room), Type: e.Type, Value: e.Value}, nil
	})
	r.start(t, flow.New("worker", flow.To(echo,
		ws.Outbound[string](r.worker, "chat", sink.StreamConfig[ws.Message[string]]{}))))
	page := httptest.NewServer(hub)
	defer page.Close()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(page.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	say := func(frame string, want ...string) {
		t.Helper()
		if err := conn.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
			t.Fatal(err)
		}
		for len(want) > 0 {
			_, b, err := conn.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var f struct{ Kind, Data string }
			_ = json.Unmarshal(b, &f) // other frames have other data
			i := slices.Index(want, strings.TrimSpace(f.Kind+" "+f.Data))
			if i < 0 {
				t.Fatalf("got %s, want one of %q", b, want)
			}
			want = slices.Delete(want, i, i+1)
		}
	}
	say(`{"kind":"hello","rooms":["lobby"]}`, "hello")
	say(`{"kind":"send","id":"1","room":"lobby","type":"say","data":"tea"}`, "ack", "msg tea")
	say(`{"kind":"call","id":"2","type":"price","data":"tea"}`, "reply tea")
	if err := ws.Disconnect(ctx, r.web, "chat", ws.All, "bye"); err != nil {
		t.Error(err)
	}
	for {
		if _, _, err = conn.Read(ctx); err != nil {
			break
		}
	}
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Error(err)
	}
}

// Services, clients and hubs can do all their work with the rights of their roles. A client cannot
// use another client's mailbox or read requests.
func TestFault_S8_RolesAreKeptApart(t *testing.T) {
	r := newRoles(t)
	defer r.close(t)
	handedOn := r.serve(t)
	r.ask(t, r.ann, "orders", handedOn)
	r.ask(t, r.bob, "orders", handedOn)
	r.ask(t, r.ann, "stock", nil)
	r.publish(t)
	r.chat(t)
	for _, d := range r.refused(t) {
		t.Errorf("refused: %s", d)
	}

	boxes := r.rdb.Keys(t.Context(), "{orders}:reply:bob:*").Val()
	if own := r.rdb.Keys(t.Context(), "{orders}:reply:ann:*").Val(); len(boxes) != 1 || len(own) != 1 {
		t.Fatal(boxes, own)
	}
	r.rdb.XAdd(t.Context(), redistest.Entry("{orders}:reply:ann:b:c", "data", "x"))
	box := boxes[0]
	before := r.rdb.Dump(t.Context(), box).Val()
	const script = "return redis.call(ARGV[1], KEYS[1], '-', '+')"
	reads := func(key string) [][]any {
		return [][]any{
			{"xrange", key, "-", "+"},
			{"xrevrange", key, "+", "-"},
			{"xread", "streams", key, "0"},
			{"xread", "streams", "{orders}:events", key, "0", "0"},
			{"xinfo", "stream", key},
			{"xinfo", "stream", key, "full"},
			{"xgroup", "create", key, "spy", "0"},
			{"xreadgroup", "group", "service", "spy", "streams", key, ">"},
			{"xautoclaim", key, "service", "spy", "0", "0"},
			{"xclaim", key, "service", "spy", "0", "1-1"},
			{"dump", key},
			{"copy", key, "{orders}:reply:ann:copy"},
			{"rename", key, "{orders}:reply:ann:copy"},
			{"sort", key},
			{"eval", script, "1", key, "xrange"},
			{"eval", "return redis.call('xread', 'streams', KEYS[1], '0')", "1", key},
			{"eval", "return redis.call('xinfo', 'stream', KEYS[1])", "1", key},
			{"eval", "return redis.call('xrange', '" + key + "', '-', '+')", "0"},
			{"eval", "return redis.call('xrange', '" + key + "', '-', '+')", "1", "orders"},
			{"eval", "return redis.call('xread', 'streams', '" + key + "', '0')", "1", "{orders}:control"},
			{"fcall", "f", "1", key},
			{"del", key},
			{"unlink", key},
			{"pexpire", key, "1"},
			{"persist", key},
			{"set", key, "x"},
		}
	}
	writes := func(key string) [][]any {
		return [][]any{
			{"xadd", key, "*", "data", "x"},
			{"xtrim", key, "maxlen", "0"},
			{"xdel", key, "1-1"},
			{"eval", "return redis.call('xadd', KEYS[1], '*', 'data', 'x')", "1", key},
		}
	}
	none := [][]any{{"keys", "*"}, {"scan", "0"}, {"monitor"}, {"acl", "whoami"}, {"config", "get", "*"},
		{"client", "list"}, {"flushall"}, {"randomkey"}, {"script", "flush"}, {"function", "list"}}
	for _, test := range []struct {
		who  string
		rdb  redis.UniversalClient
		cmds [][]any
	}{
		{"ann with the mailbox of bob", r.ann, slices.Concat(reads(box), writes(box), none)},
		{"bob with a mailbox of ann", r.bob, slices.Concat(reads("{orders}:reply:ann:b:c"), writes("{orders}:reply:ann:b:c"))},
		{"ann with requests", r.ann, reads("orders")},
		{"ann with control messages", r.ann, reads("{orders}:control")},
		{"ann with events", r.ann, writes("{orders}:events")},
		{"ann with dead letters", r.ann, slices.Concat(reads("orders:dead"), writes("orders:dead"))},
		{"ann with types", r.ann, [][]any{{"zrange", "{orders}:types", "0", "-1"}, {"del", "{orders}:types"}}},
		{"bob with another topic", r.bob, slices.Concat(reads("stock"), writes("stock"))},
		{"ann with the hub", r.ann, [][]any{{"get", "{chat}:seal"}, {"xadd", "{chat}:out", "*", "data", "x"}}},
		{"the hub with a mailbox", r.web, slices.Concat(reads(box), writes(box))},
		{"the hub with requests", r.web, reads("orders")},
		{"the worker with the secret", r.worker, [][]any{{"get", "{chat}:seal"}, {"set", "{chat}:seal", "x"}}},
		{"the worker with requests", r.worker, slices.Concat(reads("orders"), writes("orders"))},
		{"the service with a mailbox", r.pricing, [][]any{{"xrange", box, "-", "+"}, {"del", box}, {"pexpire", box, "1"},
			{"xread", "streams", box, "0"}, {"eval", script, "1", box, "xrange"}}},
		{"the service with the secret", r.pricing, [][]any{{"get", "{chat}:seal"}}},
	} {
		for _, cmd := range test.cmds {
			err := test.rdb.Do(t.Context(), cmd...).Err()
			if err == nil ||
				!strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "ACL failure") &&
					!strings.Contains(err.Error(), "The user executing the script") {
				t.Errorf("%s: %q: %v", test.who, cmd, err)
			}
		}
	}
	if after := r.rdb.Dump(t.Context(), box).Val(); after != before || after == "" {
		t.Error("the mailbox of bob has changed")
	}
	r.refused(t)
	r.close(t)
	for _, d := range r.refused(t) {
		t.Errorf("refused at the end: %s", d)
	}
	if left := r.rdb.Keys(t.Context(), "{orders}:reply:*").Val(); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
}

// Names of users and topics that cannot be part of a key are refused, and so are conflicting flags.
func TestFault_S8_RolesOfTheCommand(t *testing.T) {
	s := newStand(t)
	for _, line := range []string{
		"acl -user a:b -client x",
		"acl -user a* -client x",
		"acl -user " + strings.Repeat("a", 101) + " -client x",
		"acl -user a -client x{y",
		"acl -user a -service {x}y",
		"acl -user a -hub x{y",
		"acl -user a -client x -reply-topics y",
		"acl -user a -client x -secrets",
		"acl -user a -service x -no-dead",
	} {
		s.want(t, line, exitUsage)
	}
	for line, want := range map[string][]string{
		"acl -user a -client x": {"(%W~x %W~{x}:control +ping", "(~x +eval ", "(~{x}:reply:a:* +del "},
		"acl -user a -service x -reply-topics y -dead x:lost": {
			"~x:lost ", "(%W~{x}:reply:* %W~{y}:reply:* +exists +memory|usage +xadd +xlen +xtrim)",
			"(~{x}:types +eval "},
		"acl -user a -service x -cluster":  {"~{x}:dead ", "+cluster|slots "},
		"acl -user a -hub x":               {"~{x}:in ", "%R~{x}:out %W~{x}:out ", "(~{x}:seal +eval +get +set)"},
		"acl -user a -write x -max-bytes":  {"+memory|usage "},
		"acl -h":                           {"-service TOPICS", "-client TOPICS", "-hub HUBS"},
		"acl -user a -hub x -secrets":      {"%W~{x}:out "},
		"acl -user a -json -client x":      {`"(~{x}:reply:a:* +del`},
		"acl -user a -client {x} -hub {c}": {"(~{x}:reply:a:* ", "~{c}:in "},
	} {
		out := s.want(t, line, exitFine)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", line, w, out)
			}
		}
		if strings.Contains(line, "-secrets") && strings.Contains(out, ":seal") {
			t.Errorf("%s: it has the secret\n%s", line, out)
		}
	}
}
