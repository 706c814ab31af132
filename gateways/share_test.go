package gateways_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// runs records how often each request was handled, and the order of the requests of each key.
type runs struct {
	mu    sync.Mutex
	times map[string]int
	order map[string][]int
}

func newRuns() *runs { return &runs{times: make(map[string]int), order: make(map[string][]int)} }

func (r *runs) note(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times[id]++
	if key, n, ok := strings.Cut(id, "/"); ok {
		at, _ := strconv.Atoi(n)
		r.order[key] = append(r.order[key], at)
	}
}

func (r *runs) check(t *testing.T, want int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.times) != want {
		t.Errorf("%d requests were handled, want %d", len(r.times), want)
	}
	for id, n := range r.times {
		if n != 1 {
			t.Errorf("%q was handled %d times", id, n)
		}
	}
}

// Many services share the requests of many clients, and each is handled once when nothing fails.
func TestServicesShareRequests(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	all := newRuns()
	const services, clients, each = 5, 4, 250
	busy := make([]*gateways.Service, services)
	for i := range busy {
		busy[i] = s.Serve(t, gateways.ServiceConfig{MaxInFlight: 16}, func(svc *gateways.Service) {
			gateways.Handle(
				svc,
				"echo",
				func(_ context.Context, id string) (string, error) { all.note(id); return id, nil },
			)
		})
	}
	var wg sync.WaitGroup
	for i := range clients {
		call := gateways.Call[string, string](s.Client(t, gateways.ClientConfig{}), "echo")
		for j := range each {
			wg.Go(func() {
				id := fmt.Sprint(i, ".", j)
				if got, err := call(t.Context(), id); err != nil || got != id {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
	wg.Wait()
	all.check(t, clients*each)
	sum, working := uint64(0), 0
	for _, svc := range busy {
		if n := svc.Stats().Answered; n > 0 {
			sum, working = sum+n, working+1
		}
	}
	if sum != clients*each || working < 2 {
		t.Errorf("%d services answered %d requests", working, sum)
	}
}

// Requests are sent one after the other, without waiting for their answers, so that their order in the stream is known.
func TestWorkers(t *testing.T) {
	t.Parallel()
	byKey := func(r gateways.Request) string { return r.Key }
	for name, test := range map[string]struct {
		cfg  gateways.ServiceConfig
		keys int // within which order is kept
		one  bool
	}{
		"serial":    {cfg: gateways.ServiceConfig{Workers: 1}, keys: 1, one: true},
		"keyed":     {cfg: gateways.ServiceConfig{Workers: 8, KeyedBy: byKey}, keys: 5},
		"unordered": {},
		"ordered":   {cfg: gateways.ServiceConfig{Workers: 8, InOrder: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := rig.NewStand(t)
			const n = 200
			all, handled := newRuns(), make(chan struct{}, n)
			var mu sync.Mutex
			at, most := 0, 0
			svc := gateways.NewService(s.RDB, s.Topic, test.cfg)
			gateways.HandleVoid(svc, "note", func(_ context.Context, id string) error {
				mu.Lock()
				at++
				most = max(most, at)
				mu.Unlock()
				all.note(id)
				mu.Lock()
				at--
				mu.Unlock()
				handled <- struct{}{}
				return nil
			})
			send := gateways.Send[string](s.Client(t, gateways.ClientConfig{}), "note",
				gateways.Keyed(func(id string) string { key, _, _ := strings.Cut(id, "/"); return key }))
			for i := range n {
				if err := send(t.Context(), fmt.Sprintf("%d/%d", i%max(test.keys, 1), i)); err != nil {
					t.Fatal(err)
				}
			}
			rig.Start(t, svc.Graph())
			for range n {
				<-handled
			}
			all.check(t, n)
			for key, order := range all.order {
				if test.keys > 0 && !slices.IsSorted(order) {
					t.Errorf("requests of key %q were handled in the order %v", key, order)
				}
			}
			if test.one && most != 1 {
				t.Errorf("%d handlers ran at once", most)
			}
		})
	}
}

// A drained service answers the requests it has taken.
func TestDrainedServiceAnswers(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	const n = 10
	began, release := make(chan struct{}, n), make(chan struct{})
	svc := gateways.NewService(s.RDB, s.Topic, gateways.ServiceConfig{})
	gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) {
		began <- struct{}{}
		<-release
		return v, nil
	})
	run := rig.Start(t, svc.Graph())
	call := gateways.Call[string, string](s.Client(t, gateways.ClientConfig{}), "echo")
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			v := strconv.Itoa(i)
			if got, err := call(t.Context(), v); err != nil || got != v {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for range n {
		<-began
	}
	wg.Go(func() {
		if _, err := run.Drain(t.Context()); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
	redistest.Soon(t, "it drains", func() bool { return run.State() == flow.Draining })
	close(release)
	wg.Wait()
	if p := s.Pending(t); p != 0 {
		t.Errorf("%d requests are pending", p)
	}
}

// The reply address stays with the message when it is copied to branches that are merged again.
// Each request is answered by the branch that keeps it.
func TestReplyAfterFanOut(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	requests := gateways.Requests(s.RDB, s.Topic, source.StreamConfig[int]{})
	branches := operators.FanOut(requests, 2)
	even := operators.Filter(branches[0], func(_ context.Context, v int) (bool, error) { return v%2 == 0, nil })
	odd := operators.Filter(branches[1], func(_ context.Context, v int) (bool, error) { return v%2 != 0, nil })
	halved := operators.Map(even, flow.Pure(func(v int) int { return v / 2 }))
	grown := operators.Map(odd, flow.Pure(func(v int) int { return 3*v + 1 }), flow.Workers(4), flow.Unordered())
	rig.Start(
		t,
		flow.New("collatz", gateways.Reply(operators.FanIn(halved, grown), s.RDB, s.Topic, gateways.ReplyConfig{})),
	)
	call := gateways.Call[int, int](s.Client(t, gateways.ClientConfig{}), "any")
	var wg sync.WaitGroup
	for v := range 40 {
		wg.Go(func() {
			want := 3*v + 1
			if v%2 == 0 {
				want = v / 2
			}
			if got, err := call(t.Context(), v); err != nil || got != want {
				t.Errorf("%d: %d, %v", v, got, err)
			}
		})
	}
	wg.Wait()
	redistest.Soon(t, "all acked", func() bool { return s.Pending(t) == 0 })
}
