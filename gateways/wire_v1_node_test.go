package gateways_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// These tests run @streamerson/core 0.0.19, the last version of streamerson for Node on npm, in
// separate processes. It is older than the head of its repository, which the rest of this package
// follows. The differences that matter here:
//
//   - dispatch writes the given type. At the head all entries have the type "resp". Here only write
//     streams use "resp", so the tests of RespAs use write streams.
//   - Reads have no COUNT, and commands are not pipelined by themselves.
//   - A data source without a logger prints all payloads.
//
// Both versions behave as follows. Reads start at "$", so a test waits until they block. The shard
// of a dispatch is at the end of both keys, but not in the destination that it names. A write
// stream stops for good at a payload that is falsy in JavaScript.
//
// Its consumer and its gateways are not on npm, or do not run. TestStreamersonV1Answers has what
// they write and expect.

// peer is a Node process.
type peer struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

// startPeer starts testdata/streamerson/peer.js in a role, and waits until all its reads block. The
// process ends with the test.
func startPeer(t *testing.T, s *rig.Stand, role string) *peer {
	t.Helper()
	script, err := filepath.Abs("testdata/streamerson/peer.js")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(s.RDB.Options().Addr, ":")
	modules := rig.NodeModules(t, "testdata/streamerson") // may install them, which takes long
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	cmd := exec.CommandContext(ctx, "node", script, role, port, s.Topic)
	cmd.Env, cmd.WaitDelay = append(
		os.Environ(),
		"NODE_PATH="+modules,
	), 5*time.Second
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	})
	p := &peer{in, bufio.NewScanner(out)}
	hello := p.hear(t)
	clients, ok := hello["clients"].([]any)
	if !ok {
		t.Fatalf("%s says %v", role, hello)
	}
	for _, id := range clients {
		redistest.Soon(t, role+" reads", func() bool {
			info, err := s.RDB.Do(t.Context(), "client", "list", "id", int(id.(float64))).Text()
			return err == nil && strings.Contains(info, " flags=b ")
		})
	}
	return p
}

func (p *peer) say(t *testing.T, v any) {
	t.Helper()
	line, err := json.Marshal(v)
	if err == nil {
		_, err = p.in.Write(append(line, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *peer) hear(t *testing.T) (v map[string]any) {
	t.Helper()
	if !p.out.Scan() {
		t.Fatalf("the peer has ended: %v", p.out.Err())
	}
	if err := json.Unmarshal(p.out.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", p.out.Bytes(), err)
	}
	return v
}

type dict = map[string]any

// Their awaiter calls our service.
func TestStreamersonV1NodeAsks(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	seen := make(chan string, 1)
	register := func(svc *gateways.Service) {
		gateways.Handle(svc, "hello", rig.Greet)
		svc.HandleFunc("source", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
			source, _ := r.Headers.Get(streamersonv1.HeaderSourceID)
			seen <- source
			return gateways.Response{}, nil
		})
		gateways.Handle(
			svc,
			"shout",
			func(_ context.Context, v string) (string, error) { return strings.ToUpper(v), nil },
		)
		gateways.Handle(svc, "not", func(_ context.Context, v bool) (bool, error) { return !v, nil })
	}
	s.ServeV1(t, gateways.StreamersonV1{}, register)
	s.ServeV1(t, gateways.StreamersonV1{Shard: "eu", Spelling: streamersonv1.ShardAtEnd}, register)
	p := startPeer(t, s, "ask")
	for _, c := range []struct{ ask, want dict }{
		{dict{"type": "hello", "payload": dict{"Name": "Ada"}}, dict{"reply": dict{"Text": "hello Ada"}}},
		{dict{"type": "hello", "payload": dict{"Name": "Ada"}, "shard": "eu"}, dict{"reply": dict{"Text": "hello Ada"}}},
		{dict{"type": "hello", "payload": dict{}}, dict{"reply": dict{"error": dict{"code": "invalid_request", "message": "who is it?"}}}},
		{dict{"type": "nobody", "payload": dict{}}, dict{"reply": dict{"error": dict{"code": "no_handler", "message": `no handler for requests of type "nobody"`}}}},
		{dict{"type": "source", "payload": dict{}, "sourceId": "socket-7"}, dict{"reply": dict{}}},
		{dict{"type": "shout", "payload": "text"}, dict{"reply": "TEXT"}},
		{dict{"type": "not", "payload": false}, dict{"reply": true}},
		{dict{"type": "not", "payload": true}, dict{"reply": "false"}}, // their pipe would stop at the value false
	} {
		p.say(t, c.ask)
		if diff := cmp.Diff(c.want, p.hear(t)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.ask, diff)
		}
	}
	if got := <-seen; got != "socket-7" {
		t.Errorf("the source is %q", got)
	}
	for range 200 { // many at once
		p.say(t, dict{"type": "hello", "payload": dict{"Name": "all"}})
	}
	for range 200 {
		if diff := cmp.Diff(dict{"reply": dict{"Text": "hello all"}}, p.hear(t)); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	}
}

// Their write stream, which sends everything as "resp", calls our service. Their read stream reads
// the replies.
func TestStreamersonV1NodeWrites(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.ServeV1(
		t,
		gateways.StreamersonV1{RespAs: "hello"},
		func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) },
	)
	p := startPeer(t, s, "write")
	for i, c := range []struct {
		name            string
		payload, header any
	}{
		{"Ada", dict{"Text": "hello Ada"}, nil},
		{"", dict{"error": dict{"code": "invalid_request", "message": "who is it?"}}, dict{":code": "invalid_request"}},
	} {
		id := fmt.Sprint("m-", i)
		p.say(
			t,
			dict{
				"messageId":       id,
				"messageType":     "hello",
				"payload":         dict{"Name": c.name},
				"messageSourceId": "socket-7",
			},
		)
		got := p.hear(t)
		delete(got, "streamMessageId")
		want := dict{
			"streamId":           s.V1().Outgoing(),
			"messageId":          id,
			"messageType":        "resp",
			"messageDestination": "",
			"messageProtocol":    "json",
			"messageSourceId":    "socket-7",
			"payload":            c.payload,
		}
		if c.header != nil {
			want["messageHeaders"] = c.header
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// Our client calls their worker, a pipe of a read stream, a transform and a write stream.
func TestStreamersonV1NodeWorks(t *testing.T) {
	s := rig.NewStand(t)
	startPeer(t, s, "work")
	c := s.Client(t, gateways.ClientConfig{Wire: gateways.StreamersonV1{}})
	call := gateways.Call[dict, dict](
		c,
		"hello",
		gateways.Header("sourceId", "socket-7"),
		gateways.Header("tenant", "t1"),
	)
	got, err := call(t.Context(), dict{"name": "Ada"})
	want := dict{"text": "hello Ada", "source": "socket-7", "headers": dict{"tenant": "t1"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := gateways.Call[string, string](c, "upper")(t.Context(), "text"); err != nil || got != "TEXT" {
		t.Errorf("%q, %v", got, err)
	}
	if err := gateways.Send[dict](c, "hello")(t.Context(), dict{"name": "nobody waits"}); err != nil {
		t.Error(err)
	}
	failed := make(chan error, 100)
	for i := range 100 {
		go func() {
			name := fmt.Sprint(i)
			got, err := call(t.Context(), dict{"name": name})
			if err == nil && got["text"] != "hello "+name {
				err = fmt.Errorf("%s got the answer to another: %v", name, got)
			}
			failed <- err
		}()
	}
	for range 100 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// Their pipe forwards all values of our sink, and our source reads them at its end. Values that are
// falsy in JavaScript used to stop the pipe.
func TestStreamersonV1NodePipes(t *testing.T) {
	s := rig.NewStand(t)
	startPeer(t, s, "pipe")
	values := []any{nil, false, 0.0, "", dict{}, []any{}, true, 1.5, "text", dict{"name": "Ada"}}
	// Payloads that they handle as text arrive as JSON strings.
	want := []any{"null", "false", "0", `""`, dict{}, []any{}, true, 1.5, "text", dict{"name": "Ada"}}
	format := streamersonv1.Format(redisio.JSON[any]())
	out := sink.Stream(s.RDB, sink.StreamConfig[any]{Key: s.V1().Incoming(), Format: format})
	if err := flow.New("values", flow.To(source.Of(values...), out)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := source.Tail(
		s.RDB,
		source.TailConfig[any]{Key: s.V1().Outgoing(), Start: redisio.StartBeginning(), Format: format},
	)
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	var got []any
	for v, err := range flow.Values(ctx, back) {
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		if got = append(got, v); len(got) == len(want) {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Our side refuses values that are not JSON, so they receive no entry that they cannot read.
func TestStreamersonV1NodeIsSpared(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	p := startPeer(t, s, "ask")
	s.ServeV1(t, gateways.StreamersonV1{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "hello", rig.Greet)
		svc.HandleFunc("broken", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Body: []byte("{"), ContentType: "application/json"}, nil
		})
		svc.HandleFunc("bytes", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Body: []byte{0xff, 0x00}, ContentType: "image/png"}, nil
		})
	})
	for _, typ := range []string{"broken", "bytes", "hello"} {
		p.say(t, dict{"type": typ, "payload": dict{"Name": "Ada"}})
		if got := p.hear(t); got["reply"] == nil {
			t.Errorf("%s: %v", typ, got)
		}
	}
}
