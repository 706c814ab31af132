package durable_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/durable"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A reply outlives its caller. It is read from the beginning and from a cursor, by any process,
// while it is written and afterwards.
func TestFollow(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	s := newStand(t, durable.Config{}, func(ctx context.Context, q string, w *durable.Writer[string]) error {
		if err := w.Send(ctx, "first", "second"); err != nil {
			return err
		}
		<-more
		return w.Send(ctx, strings.Fields(q)...)
	})
	other := s.node(t, durable.Config{})
	id := s.start(t, "third fourth")
	var cursor string
	var all sync.WaitGroup
	for range 3 { // followers in one process
		all.Go(func() {
			got, _, err := read(t, other, id, "")
			if err != nil {
				t.Error(err)
			}
			expect(t, "live", got, "first second third fourth")
		})
	}
	for item, err := range durable.Follow[string](t.Context(), s.Replies, id, "") {
		if err != nil {
			t.Fatal(err)
		}
		if cursor = item.Cursor; item.Value == "first" {
			break // the caller leaves
		}
	}
	close(more)
	got, last, err := read(t, other, id, cursor)
	if err != nil {
		t.Error(err)
	}
	expect(t, "from a cursor", got, "second third fourth")
	all.Wait()
	if got, _, err = read(t, other, id, ""); err != nil {
		t.Error(err)
	}
	expect(t, "afterwards", got, "first second third fourth")
	if got, _, err = read(t, other, id, last); err != nil || len(got) != 0 {
		t.Errorf("from the end: %q, %v", got, err)
	}
	info, err := other.Info(t.Context(), id)
	if err != nil || info.State != durable.Done || info.Values != 4 || info.Attempt != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	if list, err := other.Recent(t.Context(), 10); err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("%+v, %v", list, err)
	}
}

// One stop, from any process, ends the handler and all followers.
func TestStop(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 1)
	s := newStand(t, durable.Config{}, func(ctx context.Context, _ string, w *durable.Writer[string]) error {
		if err := w.Send(ctx, "begun"); err != nil {
			return err
		}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return w.Send(context.WithoutCancel(ctx), "too late")
	})
	id := s.start(t, "")
	other := s.node(t, durable.Config{})
	begun := make(chan struct{}, 2)
	var all sync.WaitGroup
	for _, node := range []*durable.Replies{s.Replies, other} {
		all.Go(func() {
			var last error
			for item, err := range durable.Follow[string](t.Context(), node, id, "") {
				if last = err; item.Value == "begun" {
					begun <- struct{}{}
				}
			}
			if !errors.Is(last, durable.ErrStopped) {
				t.Errorf("a follower ends with %v", last)
			}
		})
	}
	<-begun
	<-begun
	if err := other.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if cause := <-causes; !errors.Is(cause, durable.ErrStopped) {
		t.Errorf("the cause of the handler's context: %v", cause)
	}
	if err := other.Stop(t.Context(), id); err != nil {
		t.Errorf("again: %v", err)
	}
	got, _, err := read(t, other, id, "")
	if expect(t, "stopped", got, "begun"); !errors.Is(err, durable.ErrStopped) {
		t.Error(err)
	}
	redistest.Soon(t, "the request is settled", func() bool { return s.Pending(t) == 0 })
	if err := other.Stop(t.Context(), "unknown"); !errors.Is(err, durable.ErrUnknown) {
		t.Errorf("of an unknown reply: %v", err)
	}
}

// A reply that was stopped before its handler has begun never begins.
func TestStopBeforeBegin(t *testing.T) {
	t.Parallel()
	s := newStand(t, durable.Config{}, words)
	late := durable.StartAs[string, string](s.Client(t, gateways.ClientConfig{}), s.Replies, "nobody handles this")
	if err := late(t.Context(), "mine", "x"); err != nil {
		t.Fatal(err)
	}
	if err := late(t.Context(), "mine", "x"); err != nil { // no second request
		t.Fatal(err)
	}
	if err := s.Stop(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, s.Replies, "mine", ""); !errors.Is(err, durable.ErrStopped) {
		t.Error(err)
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	s := newStand(
		t,
		durable.Config{Limits: durable.Limits{MaxPart: 100}},
		func(ctx context.Context, q string, w *durable.Writer[string]) error {
			if err := w.Send(ctx, "a"); err != nil {
				return err
			}
			switch q {
			case "refuse":
				return gateways.Errorf("no_answer", "ask something else")
			case "panic":
				panic("boom")
			case "large":
				return w.Send(ctx, strings.Repeat("x", 101))
			}
			return errors.New("a secret")
		},
	)
	for q, code := range map[string]gateways.Code{"refuse": "no_answer", "panic": "internal", "": "internal",
		"large": gateways.CodeReplyTooLarge} {
		got, _, err := read(t, s.Replies, s.start(t, q), "")
		var said *gateways.RemoteError
		if !errors.As(err, &said) || said.Code != code || strings.Contains(said.Message, "secret") {
			t.Errorf("%q: %v", q, err)
		}
		expect(t, q, got, "a")
	}
	id := s.start(t, "refuse")
	_, _, _ = read(t, s.Replies, id, "")
	if err := s.Stop(t.Context(), id); !errors.Is(err, durable.ErrEnded) {
		t.Errorf("stopped after it had failed: %v", err)
	}
	redistest.Soon(t, "all requests are settled", func() bool { return s.Pending(t) == 0 })
}

// A later attempt continues, or starts again and sends a reset to the followers.
func TestAttempts(t *testing.T) {
	t.Parallel()
	s := newStand(
		t,
		durable.Config{Limits: durable.Limits{MaxAttempts: 3}},
		func(ctx context.Context, q string, w *durable.Writer[string]) error {
			switch again := flow.RetryAfter(time.Millisecond, errors.New("later")); {
			case w.Attempt() == 1:
				if err := w.Send(ctx, "one", "two"); err != nil {
					return err
				}
				return again
			case q == "never":
				return again
			case q == "continue":
				last, ok, err := w.Last()
				if w.Resume() != 2 || last != "two" || !ok || err != nil {
					t.Errorf("continues after %d, %q, %v, %v", w.Resume(), last, ok, err)
				}
			}
			return w.Send(ctx, "three")
		},
	)
	for q, want := range map[string]string{"continue": "one two three", "restart": "reset three", "never": "one two"} {
		id := s.start(t, q)
		got, _, err := read(t, s.Replies, id, "")
		if q == "restart" && got[0] == "one" { // the follower was quick
			got = got[2:]
		}
		expect(t, q, got, want)
		if q == "never" != errors.Is(err, gateways.ErrInterrupted) {
			t.Errorf("%s: %v", q, err)
		}
		if got, _, _ = read(t, s.Replies, id, ""); q == "restart" {
			expect(t, "what is kept", got, "reset three")
		}
	}
}

func TestTrimmed(t *testing.T) {
	t.Parallel()
	s := newStand(t, durable.Config{Limits: durable.Limits{MaxLen: 3}}, words)
	id := s.start(t, "a b c d e f")
	redistest.Soon(t, "the reply is done", func() bool {
		info, err := s.Info(t.Context(), id)
		return err == nil && info.State == durable.Done
	})
	got, last, err := read(t, s.Replies, id, "")
	if expect(t, "from the beginning", got, "gap(3) d e f"); err != nil {
		t.Error(err)
	}
	base, _, _ := strings.Cut(last, "-")
	got, _, _ = read(t, s.Replies, id, base+"-2")
	expect(t, "behind the trimmed end", got, "gap(1) d e f")
	got, _, _ = read(t, s.Replies, id, base+"-4")
	expect(t, "in the middle", got, "e f")
	got, _, _ = read(t, s.Replies, id, "123-1")
	expect(t, "the cursor of another reply", got, "gap(-1) gap(3) d e f")
	got, _, _ = read(t, s.Replies, id, base+"-99")
	expect(t, "a cursor of the future", got, "gap(-1)")
	var bad *durable.CursorError
	if _, _, err := read(t, s.Replies, id, "x"); !errors.As(err, &bad) {
		t.Errorf("no cursor: %v", err)
	}
	if _, _, err := read(t, s.Replies, "unknown", ""); !errors.Is(err, durable.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

// A reply without a writer expires, and its followers are told.
func TestExpires(t *testing.T) {
	t.Parallel()
	s := newStand(t, durable.Config{Limits: durable.Limits{TTL: 200 * time.Millisecond}}, words)
	s.SetQuiet(50 * time.Millisecond)
	start := durable.StartAs[string, string](s.Client(t, gateways.ClientConfig{}), s.Replies, "nobody handles this")
	if err := start(t.Context(), "x", ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, s.Replies, "x", ""); !errors.Is(err, durable.ErrUnknown) {
		t.Errorf("an expired reply: %v", err)
	}
	redistest.Soon(t, "all its keys are gone", func() bool {
		keys := s.RDB.Keys(t.Context(), "{"+s.Topic+"}:durable:*:x").Val()
		return len(keys) == 0
	})
}

// A reply goes on after Redis has evicted its stream, and its followers are told what they miss.
func TestEvicted(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	s := newStand(t, durable.Config{}, hold(more))
	id := s.start(t, "a b | c")
	key := "{" + s.Topic + "}:durable:log:" + id
	redistest.Soon(t, "two values are written", func() bool { return s.RDB.XLen(t.Context(), key).Val() == 2 })
	s.RDB.Del(t.Context(), key)
	var got []string
	for item, err := range durable.Follow[string](t.Context(), s.Replies, id, "") {
		if gap, is := err.(*durable.TrimmedError); is {
			got = append(got, fmt.Sprint(gap.Missed))
			close(more)
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, item.Value)
	}
	expect(t, "what is left", got, "2  c")
}

// A request may be delivered again to the process that still handles it, after the lease was lost. It
// is not taken for done.
func TestRedeliveredAtHome(t *testing.T) {
	t.Parallel()
	begun, copied := make(chan struct{}), make(chan struct{})
	s := newStand(t, durable.Config{}, func(ctx context.Context, q string, w *durable.Writer[string]) error {
		if w.Attempt() == 1 {
			close(begun)
			<-copied
			return flow.RetryAfter(time.Hour, errors.New("the lease is lost"))
		}
		return w.Send(ctx, q)
	})
	id := s.start(t, "again")
	<-begun
	requests := s.RDB.XRange(t.Context(), s.Topic, "-", "+").Val()
	if len(requests) != 1 {
		t.Fatalf("%d requests", len(requests))
	}
	if err := s.RDB.XAdd(t.Context(), &redis.XAddArgs{Stream: s.Topic, Values: requests[0].Values}).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the copy is taken", func() bool { return s.Pending(t) == 2 })
	close(copied)
	got, _, err := read(t, s.Replies, id, "")
	if expect(t, "by the copy", got, "again"); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s := newStand(t, durable.Config{}, func(ctx context.Context, _ string, w *durable.Writer[string]) error {
		err := w.Send(ctx, "a")
		<-ctx.Done()
		return err
	})
	id := s.start(t, "")
	node := durable.New(s.RDB, s.Topic, durable.Config{})
	var last error
	for item, err := range durable.Follow[string](t.Context(), node, id, "") {
		if last = err; item.Value == "a" {
			if err := node.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	if !errors.Is(last, durable.ErrClosed) {
		t.Errorf("a follower of a closed node: %v", last)
	}
	if err := s.Stop(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// On a server with ACLs, the rights of Access suffice, together with those of a service and a client.
func TestAccess(t *testing.T) {
	t.Parallel()
	on := rig.NewStand(t)
	rights := durable.Config{}.Access(on.Topic).And(gateways.ServiceConfig{}.Access(on.Topic),
		gateways.ClientConfig{User: "durable"}.Access(on.Topic))
	on.RDB = redistest.Shared(t).User(t, "durable", rights.Rules()...)
	s := newStandOn(t, on, durable.Config{}, hold(nil))
	id := s.start(t, "a |")
	for item, err := range durable.Follow[string](t.Context(), s.Replies, id, "") {
		if item.Value == "a" {
			err = s.Stop(t.Context(), id)
		}
		if err != nil && !errors.Is(err, durable.ErrStopped) {
			t.Error(err)
		}
	}
	if list, err := s.Recent(t.Context(), 10); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	stream := serveProtocol(t, s.Replies, durable.HTTPConfig{})("room")
	for _, step := range []struct {
		method string
		want   int
	}{{"PUT", 201}, {"POST", 204}, {"GET", 200}, {"DELETE", 204}} {
		r := rig.Asked(step.method, stream, `"x"`, "Content-Type: application/json")
		if got := rig.Fetch(t, r); got.Status != step.want {
			t.Errorf("%s: %d %s", step.method, got.Status, got.Body)
		}
	}
}

func TestMistakes(t *testing.T) {
	r := durable.New(nil, "{", durable.Config{MaxStreams: -1})
	if err := r.Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("%v", err)
	}
	if _, err := r.Info(t.Context(), "x"); err == nil {
		t.Error("no error of a method")
	}
	if _, err := r.Recent(t.Context(), 1); err == nil || r.Stop(t.Context(), "x") == nil {
		t.Error("no error of a method")
	}
	s := newStand(t, durable.Config{}, words)
	large := durable.New(s.RDB, s.Topic, durable.Config{Limits: durable.Limits{MaxPart: 5 << 20}})
	if err := large.Validate(); err == nil {
		t.Error("a part may be larger than a reply")
	}
	// A plain call of a durable handler is refused.
	call := gateways.Call[string, string](s.Client(t, gateways.ClientConfig{}), "ask")
	var said *gateways.RemoteError
	if _, err := call(t.Context(), "x"); !errors.As(err, &said) || said.Code != gateways.CodeInvalid {
		t.Errorf("called without Start: %v", err)
	}
}
