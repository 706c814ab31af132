package gateways_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Tests named after defects of streamerson for Node that clients could share; see
// defects_list_test.go of package source.

// Each read asked for what comes from now on: what came between two reads was lost. A reply comes
// here while its client does not read.
func TestD15_RepliesBetweenReadsAreSeen(t *testing.T) {
	s := redistest.Start(t)
	w := wired{&stand{s.Client(t), "topic"}, gateways.StreamersonV1{}}
	c := w.client(t)
	call := gateways.Call[string, string](c, "ask", gateways.Timeout(redistest.Patience))
	answer := func(n int64) {
		redistest.Soon(t, "the request", func() bool { return w.rdb.XLen(t.Context(), w.requests()).Val() == n })
		got := w.slots(t, w.requests())
		if err := w.rdb.XAdd(t.Context(), redistest.Entry(w.v1().Outgoing(), got[n-1][0], "resp", "", "nil", "text", "",
			"UnoccupiedField", "answer")).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for n := range int64(3) {
		answered := make(chan error, 1)
		go func() {
			got, err := call(t.Context(), "x")
			if err == nil && got != "answer" {
				err = errors.New(got)
			}
			answered <- err
		}()
		redistest.Soon(t, "the request", func() bool { return w.rdb.XLen(t.Context(), w.requests()).Val() == n+1 })
		// All its connections end, so that it surely is between two reads.
		w.rdb.ClientKillByFilter(t.Context(), "type", "normal", "skipme", "yes")
		answer(n + 1)
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
}

// A listener and a promise leaked with each read.
func TestD19_CallsLeaveNothingBehind(t *testing.T) {
	// one after the other: the process is looked at
	for _, wire := range []gateways.Wire{nil, gateways.StreamersonV1{}} {
		w := wired{newStand(t), wire}
		w.serve(t, gateways.ServiceConfig{Answers: -1}, func(svc *gateways.Service) {
			gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
		})
		call := gateways.Call[string, string](w.client(t), "echo")
		many := func(n int) (goroutines int, objects uint64) {
			for range n {
				if _, err := call(t.Context(), "x"); err != nil {
					t.Fatal(err)
				}
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), m.HeapObjects
		}
		// What leaks grows in each round; what else goes on in the process does not.
		grown := ""
		for range 4 {
			before, objects := many(200)
			after, now := many(800)
			if after <= before+4 && now <= objects+600 {
				grown = ""
				break
			}
			grown = fmt.Sprintf(
				"%d goroutines and %d objects became %d and %d by 800 calls",
				before,
				objects,
				after,
				now,
			)
		}
		if grown != "" {
			t.Error(grown)
		}
	}
}

// Calls that timed out were kept for ever, replies of others for six seconds, and an error without
// a call ended the process.
func TestD20_TimedOutCallsAreForgotten(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w wired) {
		c := w.stand.client(t, gateways.ClientConfig{Wire: w.wire, MaxInFlight: 2})
		call := gateways.Call[hello, greeting](c, "hello")
		// more than may be in flight, if one of them were kept
		for n := 0; n < 10 || len(w.slots(t, w.requests())) == 0; n++ {
			late := gateways.Timeout(time.Duration(n+1) * 10 * time.Millisecond)
			if _, err := gateways.Call[hello, greeting](c, "hello", late)(t.Context(), hello{"late"}); !errors.Is(
				err,
				gateways.ErrTimeout,
			) {
				t.Fatal(err)
			}
		}
		// Their answers come late, values and errors, and answers to nobody's calls.
		var ids, reply []string
		for _, r := range w.slots(t, w.requests()) {
			if w.wire != nil {
				ids = append(ids, r[0])
				continue
			}
			f := pairs(r)
			ids, reply = append(ids, f["id"]), []string{f["reply"]}
		}
		for i, id := range append(ids, "nobody's") {
			slots := []string{"data", "{}", "type", []string{"reply", "error"}[i%2], "id", id}
			key := w.v1().Outgoing()
			if w.wire != nil {
				slots = []string{
					id,
					"resp",
					"",
					[]string{"nil", `{":code":"internal"}`}[i%2],
					"json",
					"",
					"UnoccupiedField",
					"{}",
				}
			} else {
				key = reply[0]
			}
			if err := w.rdb.XAdd(t.Context(), redistest.Entry(key, slots...)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		w.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", greet) })
		for range 3 {
			if got, err := call(t.Context(), hello{"Ada"}); err != nil || got.Text != "hello Ada" {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	})
}

// A write that failed was a rejection that nobody handled, and the stream was stuck.
func TestD22_FailedWritesAreErrorsOfTheirCalls(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w wired) {
		w.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
			gateways.Handle(svc, "len", func(_ context.Context, v string) (int, error) { return len(v), nil })
		})
		c := w.stand.client(t, gateways.ClientConfig{Wire: w.wire, MaxPayload: 2000})
		call := gateways.Call[string, int](c, "len")
		var large *redisio.TooLargeError
		for range 3 {
			if _, err := call(t.Context(), strings.Repeat("x", 3000)); !errors.As(err, &large) {
				t.Errorf("too large: %v", err)
			}
			if err := gateways.Send[string](c, "len")(t.Context(), strings.Repeat("x", 3000)); !errors.As(err, &large) {
				t.Errorf("too large, and not waited for: %v", err)
			}
			if n, err := call(t.Context(), "12345"); err != nil || n != 5 {
				t.Errorf("the next: %d, %v", n, err)
			}
		}
	})
	s := newStand(t)
	s.rdb.Set(t.Context(), s.topic, "no stream", 0)
	if _, err := gateways.Call[string, int](s.client(t, gateways.ClientConfig{}), "len")(t.Context(),
		"x"); !redisio.IsPermanent(
		err,
	) {
		t.Errorf("a key of the wrong type: %v", err)
	}
}

// Connecting hung for ever when Redis was down, and reconnecting was given up after three tries.
func TestD23_ConnectingEnds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := redis.NewClient(&redis.Options{Addr: l.Addr().String(), MaxRetries: -1})
	defer down.Close()
	l.Close()
	for _, wire := range []gateways.Wire{nil, gateways.StreamersonV1{}} {
		w := wired{&stand{down, "topic"}, wire}
		call := gateways.Call[string, string](w.client(t), "x", gateways.Timeout(100*time.Millisecond))
		if _, err := call(t.Context(), "x"); !errors.Is(err, gateways.ErrUnavailable) {
			t.Errorf("a client: %v", err)
		}
		svc := gateways.NewService(down, "topic", gateways.ServiceConfig{Wire: wire})
		if err := svc.Run(t.Context()); err == nil {
			t.Error("a service ran without Redis")
		}
	}
	s := redistest.Start(t)
	for _, wire := range []gateways.Wire{nil, gateways.StreamersonV1{}} {
		w := wired{&stand{s.Client(t), fmt.Sprint("topic-", wire != nil)}, wire}
		w.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", greet) })
		call := gateways.Call[hello, greeting](w.client(t), "hello", gateways.Timeout(redistest.Patience))
		for range 5 {
			if got, err := call(t.Context(), hello{"Ada"}); err != nil || got.Text != "hello Ada" {
				t.Fatalf("%+v, %v", got, err)
			}
			w.rdb.ClientKillByFilter(t.Context(), "type", "normal", "skipme", "yes")
		}
	}
}

// Each instance read the replies of all, and each route had two connections.
func TestD25_RepliesGoToTheirClient(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	w := wired{&stand{s.Client(t), "topic"}, nil}
	w.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", greet) })
	connections := func() int {
		list := w.rdb.ClientList(t.Context()).Val()
		return strings.Count(list, "\n")
	}
	clients := []*gateways.Client{w.client(t), w.client(t)}
	for i, c := range clients {
		for range 10 * (i + 1) {
			if _, err := gateways.Call[hello, greeting](c, "hello")(t.Context(), hello{"Ada"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var added []int
	for _, key := range w.rdb.Keys(t.Context(), "{topic}:reply:*").Val() {
		added = append(added, int(w.rdb.XInfoStream(t.Context(), key).Val().EntriesAdded))
	}
	slices.Sort(added)
	if diff := cmp.Diff([]int{1 + 10, 1 + 20}, added); diff != "" { // a mailbox begins with an entry
		t.Errorf("replies in each mailbox (-want +got):\n%s", diff)
	}
	before := connections()
	for i := range 50 {
		if _, err := gateways.Call[hello, greeting](clients[0], "hello", gateways.Header("route", fmt.Sprint(i)))(
			t.Context(), hello{"Ada"}); err != nil {
			t.Fatal(err)
		}
	}
	if after := connections(); after > before {
		t.Errorf("%d connections became %d by 50 routes", before, after)
	}
}
