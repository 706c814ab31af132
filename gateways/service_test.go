package gateways_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

func TestCall(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "hello", rig.Greet)
		gateways.HandleVoid(svc, "void", func(context.Context, string) error { return nil })
	})
	c := s.Client(t, gateways.ClientConfig{})
	call := gateways.Call[rig.Hello, rig.Greeting](c, "hello")
	if got, err := call(t.Context(), rig.Hello{Name: "Ada"}); err != nil || got.Text != "hello Ada" {
		t.Errorf("%+v, %v", got, err)
	}
	for name, want := range map[string]*gateways.RemoteError{
		"":       {Code: gateways.CodeInvalid, Message: "who is it?"},
		"secret": {Code: gateways.CodeInternal, Message: "handler failed: see the service's log"},
		"panic":  {Code: gateways.CodeInternal, Message: "handler failed: see the service's log"},
	} {
		_, err := call(t.Context(), rig.Hello{Name: name})
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
	if _, err := gateways.Call[string, string](c, "nobody")(t.Context(), "x"); !errors.Is(err, gateways.ErrNoHandler) {
		t.Errorf("unknown type: %v", err)
	}
	_, err := gateways.Call[string, string](c, "hello")(t.Context(), "no json")
	var remote *gateways.RemoteError
	if !errors.As(err, &remote) || remote.Code != gateways.CodeInvalid {
		t.Errorf("bad body: %v", err)
	}
	redistest.Soon(t, "all acked", func() bool { return s.Pending(t) == 0 })
}

func TestCallsInParallel(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	for range 2 {
		s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
	}
	var wg sync.WaitGroup
	for range 2 {
		call := gateways.Call[rig.Hello, rig.Greeting](s.Client(t, gateways.ClientConfig{}), "hello")
		for i := range 50 {
			wg.Go(func() {
				for j := range 20 {
					name := fmt.Sprint(i, "/", j)
					if got, err := call(t.Context(), rig.Hello{Name: name}); err != nil || got.Text != "hello "+name {
						t.Errorf("%+v, %v", got, err)
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestCallTimesOut(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	var began sync.Map // requests that reached the handler, and ends of their handlers
	svc := s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "slow", func(ctx context.Context, q string) (string, error) {
			began.Store(q, true)
			<-ctx.Done()
			began.Store("end of "+q, true)
			return "", ctx.Err()
		})
	})
	c := s.Client(t, gateways.ClientConfig{Timeout: time.Hour})
	has := func(q string) bool { _, ok := began.Load(q); return ok }
	for late := 100 * time.Millisecond; !has("late"); late *= 2 { // until the service took it in time
		if _, err := gateways.Call[string, string](c, "slow", gateways.Timeout(late))(t.Context(), "late"); !errors.Is(
			err,
			gateways.ErrTimeout,
		) {
			t.Fatalf("the deadline: %v", err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	ended := make(chan error, 1)
	go func() { _, err := gateways.Call[string, string](c, "slow")(ctx, "x"); ended <- err }()
	redistest.Soon(t, "it began", func() bool { return has("x") })
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
	// The handler of "late" may be cancelled too, before its deadline passes.
	redistest.Soon(t, "the handler was cancelled", func() bool { return has("end of x") && svc.Stats().Cancelled > 0 })
}

func TestExpiredRequestsAreSkipped(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	c := s.Client(t, gateways.ClientConfig{})
	const late = 3
	for i := range late { // already expired when added
		s.RDB.XAdd(t.Context(), redistest.Entry(s.Topic, "data", `"x"`, "type", "late", "id", fmt.Sprint(i), "limit", "0"))
	}
	var handled atomic.Int32
	svc := s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "late", func(context.Context, string) error { handled.Add(1); return nil })
		gateways.HandleVoid(svc, "now", func(context.Context, string) error { return nil })
	})
	if _, err := gateways.Call[string, []byte](c, "now")(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the late ones are through", func() bool {
		return svc.Stats().Expired+uint64(handled.Load()) >= late
	})
	if handled.Load() != 0 {
		t.Errorf("handled %d of %d, %+v", handled.Load(), late, svc.Stats())
	}
}

func TestClientIsBounded(t *testing.T) {
	s := rig.NewStand(t)
	c := s.Unsure(t).Client(t, gateways.ClientConfig{MaxInFlight: 2})
	ctx, cancel := context.WithCancel(t.Context())
	call := gateways.Call[string, string](c, "nobody is there")
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { _, _ = call(ctx, "x") })
		redistest.Soon(
			t,
			"it is in flight",
			func() bool { return s.RDB.XLen(t.Context(), s.Topic).Val() == int64(i)+1 },
		)
	}
	if _, err := call(ctx, "x"); !errors.Is(err, gateways.ErrOverloaded) {
		t.Errorf("the third call: %v", err)
	}
	cancel()
	wg.Wait()
}

func TestSend(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	got := make(chan string, 10)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "note", func(_ context.Context, v string) error { got <- v; return nil })
	})
	send := gateways.Send[string](s.Client(t, gateways.ClientConfig{}), "note")
	for _, v := range []string{"a", "b"} {
		if err := send(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if all := []string{<-got, <-got}; strings.Join(all, "")+strings.Join(all, "") != "abab" &&
		strings.Join(all, "") != "ba" {
		t.Errorf("got %q", all)
	}
}

func TestForgedReplyAddress(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	var handled atomic.Int32
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "x", func(context.Context, string) error { handled.Add(1); return nil })
	})
	for _, address := range []string{"victim", s.Topic, "{" + s.Topic + "}:control", "{" + s.Topic + "}:reply:",
		"{other}:reply:abc"} {
		if err := s.RDB.Do(t.Context(), "XADD", s.Topic, "*", "data", "x", "type", "x", "id", "1", "reply",
			address).Err(); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Soon(
		t,
		"all are dead letters",
		func() bool { return s.RDB.XLen(t.Context(), s.Topic+":dead").Val() == 5 },
	)
	if handled.Load() != 0 || s.RDB.Exists(t.Context(), "victim").Val() != 0 {
		t.Errorf("%d handled", handled.Load())
	}
}

func TestDuplicateIsAnsweredFromMemory(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	var handled atomic.Int32
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "count", func(context.Context, string) (int32, error) { return handled.Add(1), nil })
	})
	mailbox := "{" + s.Topic + "}:reply:mine"
	s.RDB.XAdd(t.Context(), redistest.Entry(mailbox, "data", "", "type", "hello"))
	for i := range 3 {
		s.RDB.XAdd(
			t.Context(),
			redistest.Entry(s.Topic, "data", `"x"`, "type", "count", "id", "7", "reply", mailbox, "dup", "1"),
		)
		redistest.Soon(t, "answered", func() bool { return s.RDB.XLen(t.Context(), mailbox).Val() == int64(i)+2 })
	}
	for _, e := range s.RDB.XRange(t.Context(), mailbox, "-", "+").Val()[1:] {
		if e.Values["data"] != "1" {
			t.Errorf("answered %v", e.Values)
		}
	}
}

func TestRepliesAreDroppedWithTheirClient(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	handled := make(chan struct{}, 1)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "x", func(context.Context, string) error { handled <- struct{}{}; return nil })
	})
	mailbox := "{" + s.Topic + "}:reply:gone"
	s.RDB.XAdd(t.Context(), redistest.Entry(s.Topic, "data", "x", "type", "x", "id", "7", "reply", mailbox))
	<-handled
	redistest.Soon(t, "acked", func() bool { return s.Pending(t) == 0 })
	if s.RDB.Exists(t.Context(), mailbox).Val() != 0 {
		t.Error("a mailbox was made for a client that is gone")
	}
}

func TestReplyAfterOperators(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	requests := gateways.Requests(s.RDB, s.Topic, source.StreamConfig[string]{})
	upper, failed := operators.Try(requests, func(_ context.Context, v string) (string, error) {
		if v == "bad" {
			return "", gateways.Errorf(gateways.CodeConflict, "no")
		}
		return strings.ToUpper(v), nil
	})
	batched := operators.Unbatch(operators.Batch(upper, 3, 5*time.Millisecond))
	rig.Start(
		t,
		flow.New(
			"shout",
			gateways.Reply(batched, s.RDB, s.Topic, gateways.ReplyConfig{}),
			gateways.ReplyFailure(failed, s.RDB, s.Topic, gateways.ReplyConfig{}),
		),
	)
	call := gateways.Call[string, string](s.Client(t, gateways.ClientConfig{}), "any")
	if got, err := call(t.Context(), "hey"); err != nil || got != "HEY" {
		t.Errorf("%q, %v", got, err)
	}
	var remote *gateways.RemoteError
	if _, err := call(t.Context(), "bad"); !errors.As(err, &remote) || remote.Code != gateways.CodeConflict ||
		remote.Message != "no" {
		t.Errorf("%v", err)
	}
}

// Each request of a batch receives its own answer. A single answer for the batch goes to all of
// them.
func TestReplyAfterBatches(t *testing.T) {
	t.Parallel()
	const n = 12
	s := rig.NewStand(t)
	requests := gateways.Requests(s.RDB, s.Topic, source.StreamConfig[string]{})
	together, alone := operators.Split(requests, func(v string) bool { return strings.HasPrefix(v, "all") })
	each := operators.Unbatch(
		operators.Map(operators.Batch(alone, n/2, time.Minute), flow.Pure(func(vs []string) []string {
			for i := range vs {
				vs[i] = strings.ToUpper(vs[i])
			}
			return vs
		})),
	)
	all := operators.Map(
		operators.Batch(together, n/2, time.Minute),
		flow.Pure(func(vs []string) string { return strconv.Itoa(len(vs)) }),
	)
	rig.Start(
		t,
		flow.New(
			"batches",
			gateways.Reply(each, s.RDB, s.Topic, gateways.ReplyConfig{}),
			gateways.Reply(all, s.RDB, s.Topic, gateways.ReplyConfig{}),
		),
	)
	call := gateways.Call[string, string](s.Client(t, gateways.ClientConfig{}), "any")
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			v, want := fmt.Sprint("all ", i), strconv.Itoa(n/2)
			if i%2 == 0 {
				v, want = fmt.Sprint("each ", i), fmt.Sprint("EACH ", i)
			}
			if got, err := call(t.Context(), v); err != nil || got != want {
				t.Errorf("%q: %q, %v", v, got, err)
			}
		})
	}
	wg.Wait()
}

func TestStream(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	cancelled := make(chan struct{})
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleStream(svc, "count", func(ctx context.Context, n int, send func(int) error) error {
			for i := 0; n < 0 || i < n; i++ {
				if err := send(i); err != nil {
					close(cancelled)
					return err
				}
			}
			if n == 13 {
				return gateways.Errorf(gateways.CodeConflict, "unlucky")
			}
			return nil
		})
		gateways.Handle(svc, "one", func(context.Context, int) (int, error) { return 42, nil })
	})
	c := s.Client(t, gateways.ClientConfig{Window: 4})
	count := gateways.Stream[int, int](c, "count")
	sum := 0
	for v, err := range count(t.Context(), 100) {
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	if sum != 4950 {
		t.Errorf("sum %d", sum)
	}
	n := 0
	var last error
	for _, err := range count(t.Context(), 13) {
		n, last = n+1, err
	}
	var remote *gateways.RemoteError
	if n != 14 || !errors.As(last, &remote) || remote.Message != "unlucky" {
		t.Errorf("%d steps, %v", n, last)
	}
	for v, err := range count(t.Context(), -1) {
		if err != nil {
			t.Fatal(err)
		}
		if v == 20 {
			break
		}
	}
	<-cancelled
	for v, err := range gateways.Stream[int, int](c, "one")(t.Context(), 1) {
		if v != 42 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
	}
	if _, err := gateways.Call[int, int](c, "count")(t.Context(), 1); err == nil {
		t.Error("a streamed answer to a call")
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	release := make(chan struct{})
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "x", func(ctx context.Context, _ string) error { <-release; return nil })
	})
	c := s.Client(t, gateways.ClientConfig{})
	call := gateways.Call[string, []byte](c, "x")
	answer := make(chan error, 1)
	go func() { _, err := call(t.Context(), "x"); answer <- err }()
	redistest.Soon(t, "in work", func() bool {
		return s.RDB.XPending(t.Context(), s.Topic, "service").Val() != nil &&
			s.RDB.XPending(t.Context(), s.Topic, "service").Val().Count == 1
	})
	closed := make(chan error, 1)
	go func() { closed <- c.Close(context.Background()) }()
	redistest.Soon(t, "closing", func() bool {
		short, done := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer done()
		_, err := call(short, "y")
		return errors.Is(err, gateways.ErrClosed)
	})
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if keys := s.RDB.Keys(t.Context(), "{"+s.Topic+"}:reply:*").Val(); len(keys) != 0 {
		t.Errorf("left behind: %q", keys)
	}
}

// Validate changes nothing: handlers may be registered after it, but not after Graph.
func TestServiceValidateHasNoEffect(t *testing.T) {
	s := rig.NewStand(t)
	svc := gateways.NewService(s.RDB, s.Topic, gateways.ServiceConfig{})
	echo := func(_ context.Context, v string) (string, error) { return v, nil }
	if err := svc.Validate(); err != nil {
		t.Fatal(err)
	}
	gateways.Handle(svc, "echo", echo)
	if err := svc.Validate(); err != nil {
		t.Errorf("registered after Validate: %v", err)
	}
	svc.Graph()
	gateways.Handle(svc, "late", echo)
	if err := svc.Validate(); err == nil {
		t.Error("registered after Graph: want a mistake")
	}
}
