package gateways_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
)

func TestStreamersonV1Call(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.ServeV1(t, gateways.StreamersonV1{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "hello", rig.Greet)
		gateways.HandleVoid(svc, "void", func(context.Context, string) error { return nil })
		gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
		gateways.Handle(svc, "not", func(_ context.Context, v bool) (bool, error) { return !v, nil })
		svc.HandleFunc("broken", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Body: []byte("{"), ContentType: "application/json"}, nil
		})
	})
	c := s.Client(t, gateways.ClientConfig{Wire: gateways.StreamersonV1{}})
	hello := gateways.Call[rig.Hello, rig.Greeting](c, "hello")
	if got, err := hello(t.Context(), rig.Hello{Name: "Ada"}); err != nil || got.Text != "hello Ada" {
		t.Errorf("%+v, %v", got, err)
	}
	for name, want := range map[string]*gateways.RemoteError{
		"":       {Code: gateways.CodeInvalid, Message: "who is it?"},
		"secret": {Code: gateways.CodeInternal, Message: "handler failed: see the service's log"},
	} {
		_, err := gateways.Call[rig.Hello, rig.Greeting](c, "hello")(t.Context(), rig.Hello{Name: name})
		var got *gateways.RemoteError
		if !errors.As(err, &got) {
			t.Errorf("%q: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
	if got, err := gateways.Call[string, []byte](c, "void")(t.Context(), "x"); err != nil || len(got) != 0 {
		t.Errorf("void: %q, %v", got, err)
	}
	for _, v := range []string{"", "x", `"quoted"`, "{", "0"} {
		if got, err := gateways.Call[string, string](c, "echo")(t.Context(), v); err != nil || got != v {
			t.Errorf("%q came back as %q, %v", v, got, err)
		}
	}
	for _, v := range []bool{true, false} {
		if got, err := gateways.Call[bool, bool](c, "not")(t.Context(), v); err != nil || got == v {
			t.Errorf("not %v: %v, %v", v, got, err)
		}
	}
	if _, err := gateways.Call[string, string](c, "nobody")(t.Context(), "x"); !errors.Is(err, gateways.ErrNoHandler) {
		t.Errorf("unknown type: %v", err)
	}
	var remote *gateways.RemoteError
	if _, err := gateways.Call[string, string](c, "broken")(t.Context(), "x"); !errors.As(err, &remote) ||
		remote.Code != gateways.CodeInternal {
		t.Errorf("an answer that is not the JSON it says it is: %v", err)
	}
	for _, err := range gateways.Stream[string, string](c, "hello")(t.Context(), "x") {
		var config *redisio.ConfigError
		if !errors.As(err, &config) || config.Type != "Stream" {
			t.Errorf("a streamed reply: %v", err)
		}
	}
	redistest.Soon(t, "all acked", func() bool {
		p, err := s.RDB.XPending(t.Context(), s.V1().Incoming(), "service").Result()
		return err == nil && p.Count == 0
	})
}

// Requests of streamerson for Node are answered as it expects: entry for entry, as captured from
// its gateway, its consumer and its awaiter. An answer goes to the topic's own stream, or to
// another key that the request names if that key is listed.
func TestStreamersonV1Answers(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	out, listed, forged := s.V1().Outgoing(), s.Topic+":listed", s.Topic+":forged"
	s.ServeV1(
		t,
		gateways.StreamersonV1{RespAs: "helloWorldEvent", ReplyKeys: []string{listed}},
		func(svc *gateways.Service) {
			svc.HandleFunc("helloWorldEvent", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
				return gateways.Response{
					Body:    []byte(`{"world":"I am a stream processor"}`),
					Headers: r.Headers[:0],
				}, nil
			})
			gateways.Handle(svc, "fails", rig.Greet)
			gateways.HandleVoid(svc, "void", func(context.Context, rig.Hello) error { return nil })
		},
	)
	const answer = `{"world":"I am a stream processor"}`
	for i, c := range []struct {
		request, reply []string
		key            string
	}{
		{[]string{"272ae88f", "resp", out, "nil", "json", "", "UnoccupiedField", "{}"},
			[]string{"272ae88f", "resp", "", "nil", "json", "", "UnoccupiedField", answer}, out},
		{[]string{"6c0b5ebd", "helloWorldEvent", "", "", "json", "socket-7", "UnoccupiedField", `{"hi":1}`},
			[]string{"6c0b5ebd", "resp", "", "nil", "json", "socket-7", "UnoccupiedField", answer}, out},
		{[]string{"to a listed key", "resp", listed, "nil", "text", "", "", "anything", "other", "pairs"},
			[]string{"to a listed key", "resp", "", "nil", "json", "", "UnoccupiedField", answer}, listed},
		{[]string{"to any key", "resp", forged, "nil", "json", "", "UnoccupiedField", "{}"},
			[]string{"to any key", "resp", "", "nil", "json", "", "UnoccupiedField", answer}, out},
		{[]string{"void", "void", out, `{":window":"5",":code":"internal"}`, "json", "s", "UnoccupiedField", "{}"},
			[]string{"void", "resp", "", "nil", "json", "s", "UnoccupiedField", "{}", "streamerson-go:empty", "1",
				"streamerson-go:ct", "application/octet-stream"}, out},
		{[]string{"fails", "fails", out, "nil", "json", "s", "UnoccupiedField", "{}"},
			[]string{"fails", "resp", "", `{":code":"invalid_request"}`, "json", "s", "UnoccupiedField",
				`{"error":{"code":"invalid_request","message":"who is it?"}}`}, out},
		{[]string{"unknown", "nobody", out, "nil", "json", "s", "UnoccupiedField", "{}"},
			[]string{"unknown", "resp", "", `{":code":"no_handler"}`, "json", "s", "UnoccupiedField",
				`{"error":{"code":"no_handler","message":"no handler for requests of type \"nobody\""}}`}, out},
	} {
		before := len(s.Slots(t, c.key))
		if err := s.RDB.XAdd(t.Context(), redistest.Entry(s.V1().Incoming(), c.request...)).Err(); err != nil {
			t.Fatal(err)
		}
		redistest.Soon(t, "the answer to "+c.request[0], func() bool { return len(s.Slots(t, c.key)) > before })
		got := s.Slots(t, c.key)
		if diff := cmp.Diff(c.reply, got[len(got)-1]); diff != "" {
			t.Errorf("%d, %s (-want +got):\n%s", i, c.request[0], diff)
		}
	}
	if n := s.RDB.Exists(t.Context(), forged).Val(); n != 0 {
		t.Error("a request made the service write where it liked")
	}
	if len(s.Slots(t, listed)) != 1 {
		t.Errorf("%d answers in the listed stream", len(s.Slots(t, listed)))
	}
}

// A client finds its replies in a stream with many replies to other clients, old and new, and some
// unreadable entries.
func TestStreamersonV1SharedReplies(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	out := s.V1().Outgoing()
	foreign := func() {
		pipe := s.RDB.Pipeline()
		for range 500 {
			pipe.XAdd(
				t.Context(),
				redistest.Entry(out, "somebody's", "resp", "", "nil", "json", "", "UnoccupiedField", "{}"),
			)
		}
		pipe.XAdd(t.Context(), redistest.Entry(out, "no", "reply"))
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	foreign()
	s.ServeV1(t, gateways.StreamersonV1{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
	for range 2 {
		call := gateways.Call[rig.Hello, rig.Greeting](
			s.Client(t, gateways.ClientConfig{Wire: gateways.StreamersonV1{}}),
			"hello",
		)
		for range 3 {
			if got, err := call(t.Context(), rig.Hello{Name: "Ada"}); err != nil || got.Text != "hello Ada" {
				t.Fatalf("%+v, %v", got, err)
			}
			foreign()
		}
	}
	if s.RDB.XLen(t.Context(), out).Val() < 3000 {
		t.Error("a client took away what is not its own")
	}
}

// A reply written right after the request is not missed, because the client sets its start position
// before sending.
func TestStreamersonV1EarlyReply(t *testing.T) {
	s := rig.NewStand(t)
	for range 4 {
		c := s.Client(t, gateways.ClientConfig{Wire: gateways.StreamersonV1{}})
		answered := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		last := "0"
		if e := s.RDB.XRevRangeN(ctx, s.V1().Incoming(), "+", "-", 1).Val(); len(e) > 0 {
			last = e[0].ID
		}
		go func() { // the fastest possible worker
			reply, err := s.RDB.Do(ctx, "xread", "block", 20_000, "streams", s.V1().Incoming(), last).Result()
			if err == nil {
				var id string
				for _, streams := range reply.(map[any]any) {
					id = streams.([]any)[0].([]any)[1].([]any)[0].(string)
				}
				err = s.RDB.XAdd(ctx, redistest.Entry(s.V1().Outgoing(), id, "resp", "", "nil", "json", "", "UnoccupiedField", `{"ans":2}`)).
					Err()
			}
			answered <- err
		}()
		got, err := gateways.Call[string, map[string]int](c, "ask")(ctx, "x")
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		cancel()
		if err != nil || got["ans"] != 2 {
			t.Fatalf("%v, %v", got, err)
		}
	}
}

func TestStreamersonV1Deadlines(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	cfg := gateways.ClientConfig{Wire: gateways.StreamersonV1{Shard: "eu"}}
	c := s.Client(t, cfg)
	late := s.Late(t, cfg, "late", s.Topic+"::DEFAULT#eu::CONSUMER_INCOMING")
	var handled atomic.Int32
	wire := gateways.StreamersonV1{Shard: "eu", Start: redisio.StartBeginning()}
	svc := s.ServeV1(t, wire, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "late", func(context.Context, string) error { handled.Add(1); return nil })
		gateways.HandleVoid(svc, "now", func(context.Context, string) error { return nil })
	})
	if _, err := gateways.Call[string, []byte](c, "now")(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the late ones are through", func() bool {
		return svc.Stats().Expired+uint64(handled.Load()) >= late
	})
	if handled.Load() != 0 || svc.Stats().Expired != late {
		t.Errorf("handled %d of %d, %+v", handled.Load(), late, svc.Stats())
	}
}

// Messages that want no answer are not answered. If the handler fails, they are retried, as with
// any stream.
func TestStreamersonV1Send(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	done, tries := make(chan gateways.Request, 1), 0
	s.ServeV1(t, gateways.StreamersonV1{}, func(svc *gateways.Service) {
		svc.HandleFunc("tell", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
			if tries++; tries == 1 {
				return gateways.Response{}, errors.New("not yet")
			}
			done <- *r
			return gateways.Response{}, nil
		})
	})
	c := s.Client(t, gateways.ClientConfig{Wire: gateways.StreamersonV1{}})
	tell := gateways.Send[rig.Hello](c, "tell", gateways.Header("sourceId", "me"), gateways.Header("a", "b"))
	if err := tell(t.Context(), rig.Hello{Name: "Ada"}); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if source, _ := r.Headers.Get("sourceId"); source != "me" || string(r.Body) != `{"Name":"Ada"}` {
		t.Errorf("%+v", r)
	}
	if sent := s.Slots(t, s.V1().Incoming()); len(sent) != 1 || sent[0][2] != "" ||
		sent[0][3] != `{"a":"b",":mute":"1"}` ||
		sent[0][5] != "me" {
		t.Errorf("sent %q", sent)
	}
	if n := s.RDB.Exists(t.Context(), s.V1().Outgoing()).Val(); n != 0 {
		t.Error("it was answered")
	}
}

func TestStreamersonV1Mistakes(t *testing.T) {
	s := rig.NewStand(t)
	wire := gateways.StreamersonV1{
		Topic:      strings.Repeat("x", 500),
		Spelling:   streamersonv1.ShardAtEnd,
		ReplyKeys:  []string{""},
		MaxReplies: -1,
	}
	err := gateways.NewClient(s.RDB, "", gateways.ClientConfig{Wire: wire}).Validate()
	for _, field := range []string{"topic", "Topic", "Spelling", "ReplyKeys", "MaxReplies"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("no word of %s in: %v", field, err)
		}
	}
	svc := gateways.NewService(
		s.RDB,
		s.Topic,
		gateways.ServiceConfig{Wire: gateways.StreamersonV1{Spelling: 7}, ReplyTopics: []string{"x"}},
	)
	err = svc.Validate()
	for _, field := range []string{"Spelling", "ReplyTopics"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("no word of %s in: %v", field, err)
		}
	}
}
