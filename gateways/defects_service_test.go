package gateways_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Tests named after defects of streamerson for Node that services could share; see
// defects_list_test.go of package source.

// Every message was sent with the type "resp", whatever its type, so the calls of the examples
// timed out.
func TestD1_TypesReachTheirHandlers(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		w.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
			for _, typ := range []string{"helloWorldEvent", "resp", "other"} {
				gateways.Handle(
					svc,
					typ,
					func(context.Context, string) (string, error) { return "answered by " + typ, nil },
				)
			}
		})
		c := w.Client(t)
		for _, typ := range []string{"helloWorldEvent", "resp", "other"} {
			if got, err := gateways.Call[string, string](c, typ)(t.Context(), "x"); err != nil ||
				got != "answered by "+typ {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
}

// A service behind their gateways can configure which type a "resp" means.
func TestD1_RespHasAnAlias(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.ServeV1(
		t,
		gateways.StreamersonV1{RespAs: "hello"},
		func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) },
	)
	for _, typ := range []string{"resp", "hello"} {
		call := gateways.Call[rig.Hello, rig.Greeting](
			s.Client(t, gateways.ClientConfig{Wire: gateways.StreamersonV1{}}),
			typ,
		)
		if got, err := call(t.Context(), rig.Hello{Name: "Ada"}); err != nil || got.Text != "hello Ada" {
			t.Errorf("%s: %+v, %v", typ, got, err)
		}
	}
}

// In streamerson for Node, a one-way consumer stopped for good after sixteen messages.
func TestD2_OneWayServiceGoesOn(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		var handled atomic.Int32
		w.Serve(t, gateways.ServiceConfig{MaxInFlight: 16}, func(svc *gateways.Service) {
			gateways.HandleVoid(svc, "tell", func(context.Context, string) error { handled.Add(1); return nil })
		})
		send := gateways.Send[string](w.Client(t), "tell")
		for range 200 {
			if err := send(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
		}
		w.Settled(t)
		if n := handled.Load(); n != 200 {
			t.Errorf("%d of 200 handled", n)
		}
	})
}

// In streamerson for Node, a handler that returned nothing blocked the consumer at its first
// message. So did a type without a handler.
func TestD3_VoidAndUnknownAreAnswered(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		w.Serve(
			t,
			gateways.ServiceConfig{Workers: 1},
			func(svc *gateways.Service) {
				gateways.HandleVoid(svc, "void", func(context.Context, string) error { return nil })
				gateways.Handle(svc, "null", func(context.Context, string) (*rig.Hello, error) { return nil, nil })
			},
		)
		c := w.Client(t)
		for range 50 {
			if got, err := gateways.Call[string, []byte](c, "void")(t.Context(), "x"); err != nil || len(got) != 0 {
				t.Fatalf("%q, %v", got, err)
			}
			if _, err := gateways.Call[string, string](c, "unknown")(t.Context(), "x"); !errors.Is(
				err,
				gateways.ErrNoHandler,
			) {
				t.Fatal(err)
			}
			if got, err := gateways.Call[string, *rig.Hello](c, "null")(t.Context(), "x"); err != nil || got != nil {
				t.Fatalf("%v, %v", got, err)
			}
		}
		w.Settled(t)
	})
}

// A failing handler ended its consumer, and its caller received no error.
func TestD4_ErrorsAreAnswered(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		w.Serve(
			t,
			gateways.ServiceConfig{Workers: 1},
			func(svc *gateways.Service) {
				gateways.Handle(svc, "hello", rig.Greet)
			},
		)
		call := gateways.Call[rig.Hello, rig.Greeting](w.Client(t), "hello")
		for i := range 100 {
			name, code := "Ada", gateways.Code("")
			switch i % 4 {
			case 1:
				name, code = "", gateways.CodeInvalid
			case 2:
				name, code = "secret", gateways.CodeInternal
			case 3:
				name, code = "panic", gateways.CodeInternal
			}
			_, err := call(t.Context(), rig.Hello{Name: name})
			var remote *gateways.RemoteError
			if errors.As(err, &remote) != (code != "") || remote != nil && remote.Code != code ||
				err != nil && remote == nil {
				t.Fatalf("%d, %q: %v", i, name, err)
			}
		}
		w.Settled(t)
	})
}

// Streamerson for Node acknowledged a message without a handler, and so lost it. Here, it is
// answered if a caller waits (see D3), and becomes a dead letter otherwise.
func TestD8_UnhandledIsNotLost(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		w.Serve(t, gateways.ServiceConfig{MaxDeliveries: 1}, func(*gateways.Service) {})
		if err := gateways.Send[string](w.Client(t), "unknown")(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		deadKey := w.Requests() + ":dead"
		redistest.Soon(t, "the dead letter", func() bool { return w.RDB.XLen(t.Context(), deadKey).Val() == 1 })
		w.Settled(t)
		for letter, err := range dead.All(t.Context(), w.RDB, deadKey, dead.Filter{}) {
			if err != nil || !strings.Contains(letter.Reason.Error, `no handler for requests of type "unknown"`) {
				t.Errorf("%+v, %v", letter, err)
			}
		}
	})
}

// In streamerson for Node, routes that were added while others were read lost their first requests:
// one of two routes, two of four.
func TestD11_FirstRequestsAreNotLost(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		w.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
			for i := range 4 {
				gateways.Handle(
					svc,
					fmt.Sprint("route-", i),
					func(context.Context, string) (int, error) { return i, nil },
				)
			}
		})
		c := w.Client(t)
		var wg sync.WaitGroup
		for i := range 4 { // all first calls at once, while the client connects
			wg.Go(func() {
				if got, err := gateways.Call[string, int](c, fmt.Sprint("route-", i))(t.Context(), "x"); err != nil ||
					got != i {
					t.Errorf("route %d: %d, %v", i, got, err)
				}
			})
		}
		wg.Wait()
		another := rig.Wired{
			Stand: &rig.Stand{RDB: w.RDB, Topic: w.Topic + "-2"},
			Wire:  w.Wire,
		} // a topic that is added later
		another.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
			gateways.Handle(svc, "late", func(context.Context, string) (int, error) { return 9, nil })
		})
		if got, err := gateways.Call[string, int](another.Client(t), "late")(t.Context(), "x"); err != nil || got != 9 {
			t.Errorf("the topic that came later: %d, %v", got, err)
		}
		if got, err := gateways.Call[string, int](c, "route-0")(t.Context(), "x"); err != nil || got != 0 {
			t.Errorf("the topic that was there: %d, %v", got, err)
		}
	})
}

// One entry that could not be decoded ended its reader. The rest of the batch was lost.
func TestD16_PoisonHurtsNobodyElse(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	w := rig.Wired{Stand: s, Wire: gateways.StreamersonV1{}}
	svc := w.Serve(
		t,
		gateways.ServiceConfig{},
		func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) },
	)
	pipe := s.RDB.TxPipeline() // one batch
	for i := range 6 {
		slots := []string{fmt.Sprint("m-", i), "hello", "", "nil", "json", "", "UnoccupiedField", `{"Name":"Ada"}`}
		switch i {
		case 1:
			slots[0] = "" // no id
		case 2:
			slots[3] = "{" // no headers
		case 3:
			slots[7] = "{" // not JSON: the handler reports that
		case 4:
			slots = slots[:4] // no entry of v1
		}
		pipe.XAdd(t.Context(), redistest.Entry(w.Requests(), slots...))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "all", func() bool {
		return svc.Stats().Answered == 2 && svc.Stats().Failed == 1 &&
			s.RDB.XLen(t.Context(), w.Requests()+":dead").Val() == 3
	})
	w.Settled(t)
	// A reply that can't be decoded does not end a client either.
	c := w.Client(t)
	call := gateways.Call[rig.Hello, rig.Greeting](c, "hello")
	for range 3 {
		if got, err := call(t.Context(), rig.Hello{Name: "Ada"}); err != nil || got.Text != "hello Ada" {
			t.Fatalf("%+v, %v", got, err)
		}
		s.RDB.XAdd(
			t.Context(),
			redistest.Entry(s.V1().Outgoing(), "", "resp", "", "{", "json", "", "UnoccupiedField", "{"),
		)
	}
}

// Streamerson for Node never trimmed the streams of requests and replies. They grew until Redis was
// full.
func TestD18_RequestsAndRepliesAreBounded(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]gateways.Wire{"native": nil, "v1": gateways.StreamersonV1{MaxReplies: 100}} {
		t.Run(name, func(t *testing.T) {
			w := rig.Wired{Stand: rig.NewStand(t), Wire: wire}
			w.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
				gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
			})
			call := gateways.Call[string, string](
				w.Stand.Client(t, gateways.ClientConfig{Wire: wire, MaxLen: 100}),
				"echo",
			)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					for range 100 {
						if _, err := call(t.Context(), "x"); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			replies := w.V1().Outgoing()
			if wire == nil {
				replies = w.RDB.Keys(t.Context(), "{"+w.Topic+"}:reply:*").Val()[0]
			}
			for _, key := range []string{w.Requests(), replies} {
				redistest.Soon(t, key+" is short", func() bool {
					n := w.RDB.XLen(t.Context(), key).Val()
					if n > 400 { // it is trimmed by writes, or by regular maintenance
						_, _ = call(t.Context(), "x")
					}
					return n <= 400
				})
			}
		})
	}
}

// Requests with their own IDs, such as those of FireAndForget, are trimmed like others.
func TestD18_RequestsWithIDsAreBounded(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
	})
	c := s.Client(t, gateways.ClientConfig{MaxLen: 100})
	ask := func(i int) {
		if _, err := c.Do(t.Context(), gateways.Request{Type: "echo", ID: strconv.Itoa(i), Body: []byte(`"x"`)}); err != nil {
			t.Fatal(err)
		}
	}
	const n = 600
	for i := range n {
		ask(i)
	}
	more := n
	redistest.Soon(t, "the stream is short", func() bool {
		ask(more)
		more++
		return s.RDB.XLen(t.Context(), s.Topic).Val() <= 400
	})
}

// Requests sent while no service ran are trimmed once a service has handled them, even if no more
// are sent.
func TestD18_RequestsSentAheadAreBounded(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	c := s.Client(t, gateways.ClientConfig{MaxLen: 100})
	send := gateways.Send[string](c, "note")
	const n = 1000
	var handled atomic.Int64
	for range n {
		if err := send(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "note", func(context.Context, string) error {
			handled.Add(1)
			return nil
		})
	})
	redistest.Soon(t, "all are handled", func() bool { return handled.Load() == n })
	redistest.Soon(t, "the stream is short", func() bool { return s.RDB.XLen(t.Context(), s.Topic).Val() <= 400 })
}

// Handlers always ran one after the other, and there was no order by key.
func TestD26_HandlersRunAtOnce(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		var met sync.WaitGroup
		met.Add(8)
		w.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
			gateways.HandleVoid(svc, "meet", func(context.Context, string) error {
				met.Done()
				met.Wait() // none returns before all run
				return nil
			})
		})
		call := gateways.Call[string, []byte](w.Client(t), "meet")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := call(t.Context(), "x"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// The other half: requests with the same key may keep their order, while others run.
func TestD26_OrderIsByKey(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		var mu sync.Mutex
		order := make(map[string][]int)
		byKey := func(r gateways.Request) string { return r.Key }
		w.Serve(t, gateways.ServiceConfig{Workers: 8, KeyedBy: byKey}, func(svc *gateways.Service) {
			svc.HandleFunc("order", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
				var n int
				_, err := fmt.Sscan(string(r.Body), &n)
				mu.Lock()
				defer mu.Unlock()
				order[r.Key] = append(order[r.Key], n)
				return gateways.Response{}, err
			})
		})
		send := gateways.Send[int](
			w.Client(t),
			"order",
			gateways.Keyed(func(n int) string { return fmt.Sprint("key-", n%5) }),
		)
		want := make(map[string][]int)
		for n := range 100 {
			if err := send(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprint("key-", n%5)
			want[key] = append(want[key], n)
		}
		w.Settled(t)
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// disconnect() dropped running handlers and unflushed replies.
func TestD27_WhatRunsIsAnswered(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		begun, goOn := make(chan struct{}, 8), make(chan struct{})
		svc := gateways.NewService(w.RDB, w.Topic, gateways.ServiceConfig{Wire: w.Wire})
		gateways.Handle(svc, "slow", func(ctx context.Context, v string) (string, error) {
			begun <- struct{}{}
			select {
			case <-goOn:
				return v, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		})
		run, err := svc.Graph().Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rig.Ready(t, run)
		call := gateways.Call[string, string](
			w.Stand.Client(t, gateways.ClientConfig{Wire: w.Wire, Timeout: redistest.Patience}),
			"slow",
		)
		answered := make(chan error, 8)
		for range 8 {
			go func() {
				got, err := call(t.Context(), "v")
				if err == nil && got != "v" {
					err = errors.New(got)
				}
				answered <- err
			}()
		}
		for range 8 {
			<-begun
		}
		drained := make(chan error, 1)
		go func() { _, err := run.Drain(t.Context()); drained <- err }()
		redistest.Soon(t, "it drains", func() bool { return run.State() == flow.Draining })
		close(goOn)
		for range 8 {
			if err := <-answered; err != nil {
				t.Errorf("a call under way: %v", err)
			}
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		w.Settled(t)
	})
}

// The log contained whole payloads, and was on by default.
func TestD28_LogsHoldNoPayloads(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		const secret = "4111-1111-1111-1111"
		var log rig.LockedBuffer
		logger := slog.New(zerolog.NewSlogHandler(zerolog.New(&log).Level(zerolog.TraceLevel)))
		w.Serve(t, gateways.ServiceConfig{Log: logger, MaxDeliveries: 1}, func(svc *gateways.Service) {
			gateways.Handle(svc, "hello", rig.Greet)
			gateways.HandleVoid(svc, "fails", func(context.Context, string) error { return errors.New("the reason") })
			gateways.HandleVoid(svc, "panics", func(context.Context, string) error { panic("the panic") })
		})
		c := w.Stand.Client(t, gateways.ClientConfig{Wire: w.Wire, Log: logger})
		hello := gateways.Call[rig.Hello, rig.Greeting](c, "hello")
		if _, err := hello(t.Context(), rig.Hello{Name: secret}); err != nil {
			t.Error(err)
		}
		for _, typ := range []string{"hello", "fails", "panics", "unknown"} {
			if _, err := gateways.Call[string, rig.Greeting](c, typ, gateways.Header("token", secret))(t.Context(),
				secret); err == nil {
				t.Errorf("%s did not fail", typ)
			}
			if err := gateways.Send[string](c, typ)(t.Context(), secret); err != nil {
				t.Error(err)
			}
		}
		w.RDB.XAdd(t.Context(), redistest.Entry(w.Requests(), "other", secret))
		redistest.Soon(
			t,
			"the dead letters",
			func() bool { return w.RDB.XLen(t.Context(), w.Requests()+":dead").Val() == 5 },
		)
		w.Settled(t)
		if text := log.String(); strings.Contains(text, secret) || !strings.Contains(text, "the reason") ||
			!strings.Contains(text, "the panic") {
			t.Errorf("log:\n%s", text)
		}
	})
}
