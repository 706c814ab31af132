package gateways_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Tests named after defects of streamerson for Node that clients could share; see
// defects_list_test.go of package source.

// Each read started at the end of the stream, so entries written between two reads were lost. Here
// a reply is written while its client does not read.
func TestD15_RepliesBetweenReadsAreSeen(t *testing.T) {
	s := redistest.Start(t)
	w := rig.Wired{Stand: &rig.Stand{RDB: rig.Redis(t, s), Topic: "topic"}, Wire: gateways.StreamersonV1{}}
	c := w.Client(t)
	call := gateways.Call[string, string](c, "ask", gateways.Timeout(redistest.Patience))
	answer := func(n int64) {
		redistest.Soon(t, "the request", func() bool { return w.RDB.XLen(t.Context(), w.Requests()).Val() == n })
		got := w.Slots(t, w.Requests())
		if err := w.RDB.XAdd(t.Context(), redistest.Entry(w.V1().Outgoing(), got[n-1][0], "resp", "", "nil", "text", "",
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
		redistest.Soon(t, "the request", func() bool { return w.RDB.XLen(t.Context(), w.Requests()).Val() == n+1 })
		// Closing all its connections ensures that the client is between two reads.
		w.RDB.ClientKillByFilter(t.Context(), "type", "normal", "skipme", "yes")
		answer(n + 1)
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
}

// Each read leaked a listener and a promise.
func TestD19_CallsLeaveNothingBehind(t *testing.T) {
	// not parallel, because the test measures the process
	for _, wire := range []gateways.Wire{nil, gateways.StreamersonV1{}} {
		w := rig.Wired{Stand: rig.NewStand(t), Wire: wire}
		w.Serve(t, gateways.ServiceConfig{Answers: -1}, func(svc *gateways.Service) {
			gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
		})
		call := gateways.Call[string, string](w.Client(t), "echo")
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
		// A leak grows in each round. Other activity of the process does not.
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

// Streamerson for Node kept timed-out calls forever and replies to other calls for six seconds. An
// error without a call ended its process.
func TestD20_TimedOutCallsAreForgotten(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		c := w.Unsure(t).Client(t, gateways.ClientConfig{Wire: w.Wire, MaxInFlight: 2})
		call := gateways.Call[rig.Hello, rig.Greeting](c, "hello")
		// more calls than may be in flight: a leaked one would block them
		for n := 0; n < 10 || len(w.Slots(t, w.Requests())) == 0; n++ {
			late := gateways.Timeout(time.Duration(n+1) * 10 * time.Millisecond)
			hello := gateways.Call[rig.Hello, rig.Greeting](c, "hello", late)
			if _, err := hello(t.Context(), rig.Hello{Name: "late"}); !errors.Is(err, gateways.ErrTimeout) {
				t.Fatal(err)
			}
		}
		// Their answers arrive late, both values and errors, as do answers to unknown calls.
		var ids, reply []string
		for _, r := range w.Slots(t, w.Requests()) {
			if w.Wire != nil {
				ids = append(ids, r[0])
				continue
			}
			f := rig.Pairs(r)
			ids, reply = append(ids, f["id"]), []string{f["reply"]}
		}
		for i, id := range append(ids, "nobody's") {
			slots := []string{"data", "{}", "type", []string{"reply", "error"}[i%2], "id", id}
			key := w.V1().Outgoing()
			if w.Wire != nil {
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
			if err := w.RDB.XAdd(t.Context(), redistest.Entry(key, slots...)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		w.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
		for range 3 {
			if got, err := call(t.Context(), rig.Hello{Name: "Ada"}); err != nil || got.Text != "hello Ada" {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	})
}

// In streamerson for Node, a failed write was an unhandled rejection, and the stream was stuck.
func TestD22_FailedWritesAreErrorsOfTheirCalls(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		w.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
			gateways.Handle(svc, "len", func(_ context.Context, v string) (int, error) { return len(v), nil })
		})
		c := w.Stand.Client(t, gateways.ClientConfig{Wire: w.Wire, MaxPayload: 2000})
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
	s := rig.NewStand(t)
	s.RDB.Set(t.Context(), s.Topic, "no stream", 0)
	if _, err := gateways.Call[string, int](s.Client(t, gateways.ClientConfig{}), "len")(t.Context(),
		"x"); !redisio.IsPermanent(
		err,
	) {
		t.Errorf("a key of the wrong type: %v", err)
	}
}

// Streamerson for Node hung forever when it connected while Redis was down. It gave up reconnecting
// after three tries.
func TestD23_ConnectingEnds(t *testing.T) {
	t.Parallel()
	// Nothing listens there. A port that was free a moment ago may belong to the server of another test.
	down := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer down.Close()
	for _, wire := range []gateways.Wire{nil, gateways.StreamersonV1{}} {
		w := rig.Wired{Stand: &rig.Stand{RDB: down, Topic: "topic"}, Wire: wire}
		call := gateways.Call[string, string](w.Client(t), "x", gateways.Timeout(100*time.Millisecond))
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
		w := rig.Wired{Stand: &rig.Stand{RDB: rig.Redis(t, s), Topic: fmt.Sprint("topic-", wire != nil)}, Wire: wire}
		w.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
		call := gateways.Call[rig.Hello, rig.Greeting](w.Client(t), "hello", gateways.Timeout(redistest.Patience))
		for range 5 {
			if got, err := call(t.Context(), rig.Hello{Name: "Ada"}); err != nil || got.Text != "hello Ada" {
				t.Fatalf("%+v, %v", got, err)
			}
			w.RDB.ClientKillByFilter(t.Context(), "type", "normal", "skipme", "yes")
		}
	}
}

// Each instance read the replies of all instances, and each route had two connections.
func TestD25_RepliesGoToTheirClient(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	w := rig.Wired{Stand: &rig.Stand{RDB: rig.Redis(t, s), Topic: "topic"}, Wire: nil}
	w.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
	connections := func() int {
		list := w.RDB.ClientList(t.Context()).Val()
		return strings.Count(list, "\n")
	}
	clients := []*gateways.Client{w.Client(t), w.Client(t)}
	for i, c := range clients {
		for range 10 * (i + 1) {
			hello := gateways.Call[rig.Hello, rig.Greeting](c, "hello")
			if _, err := hello(t.Context(), rig.Hello{Name: "Ada"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var added []int
	for _, key := range w.RDB.Keys(t.Context(), "{topic}:reply:*").Val() {
		added = append(added, int(w.RDB.XInfoStream(t.Context(), key).Val().EntriesAdded))
	}
	slices.Sort(added)
	if diff := cmp.Diff([]int{1 + 10, 1 + 20}, added); diff != "" { // a new mailbox has one entry
		t.Errorf("replies in each mailbox (-want +got):\n%s", diff)
	}
	before := connections()
	for i := range 50 {
		route := gateways.Header("route", fmt.Sprint(i))
		hello := gateways.Call[rig.Hello, rig.Greeting](clients[0], "hello", route)
		if _, err := hello(t.Context(), rig.Hello{Name: "Ada"}); err != nil {
			t.Fatal(err)
		}
	}
	// A pool may open some more when its users happen to meet; a connection for each route would be 50.
	if after := connections(); after > before+25 {
		t.Errorf("%d connections became %d by 50 routes", before, after)
	}
}
