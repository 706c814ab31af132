package gateways_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
)

type note struct {
	For  string `json:"for"`
	Text string `json:"text"`
}

// heard gathers what a subscriber got.
type heard struct {
	mu  sync.Mutex
	got []string
}

func (h *heard) note(_ context.Context, n note) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, n.Text)
	return nil
}

func (h *heard) texts() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (s *stand) events(t testing.TB, cfg gateways.EventsConfig) *gateways.Events {
	t.Helper()
	e := gateways.NewEvents(s.rdb, s.topic, cfg)
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("close events: %v", err)
		}
	})
	return e
}

// subscriber runs a graph that hears the notes of a topic.
func (s *stand) subscriber(t testing.TB, cfg gateways.SubscribeConfig) *heard {
	h := &heard{}
	start(t, flow.New("subscriber", flow.To(gateways.Subscribe[note](s.rdb, s.topic, "note", cfg), sink.Func(h.note))))
	return h
}

func TestEventsReachEverySubscriber(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	e := s.events(t, gateways.EventsConfig{})
	one, two := s.subscriber(t, gateways.SubscribeConfig{}), s.subscriber(t, gateways.SubscribeConfig{})
	shared := []*heard{
		s.subscriber(t, gateways.SubscribeConfig{Group: "g"}),
		s.subscriber(t, gateways.SubscribeConfig{Group: "g"}),
	}
	publish, other := gateways.Publish[note](e, "note"), gateways.Publish[int](e, "number")
	var want []string
	for i := range 50 {
		if err := errors.Join(publish(t.Context(), note{Text: fmt.Sprint(i)}), other(t.Context(), i)); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(i))
	}
	for _, h := range []*heard{one, two} {
		redistest.Soon(t, "all of them", func() bool { return len(h.texts()) >= len(want) })
		if diff := cmp.Diff(want, h.texts()); diff != "" {
			t.Errorf("a process (-want +got):\n%s", diff)
		}
	}
	redistest.Soon(
		t,
		"all of them, between the two",
		func() bool { return len(shared[0].texts())+len(shared[1].texts()) >= len(want) },
	)
	both := slices.Concat(shared[0].texts(), shared[1].texts())
	slices.Sort(both)
	slices.Sort(want)
	if diff := cmp.Diff(want, both); diff != "" {
		t.Errorf("a group (-want +got):\n%s", diff)
	}
}

// What is published is what browsers get, each what it is about.
func TestEventsAreServed(t *testing.T) {
	t.Parallel()
	var key string
	b := newBoard(t, gateways.SSEConfig{Feed: func(r *http.Request) (gateways.Feed, error) {
		return gateways.Feed{Key: key, Topics: []string{r.Header.Get("User")}}, nil
	}})
	key = gateways.EventsKey(b.topic)
	publish := gateways.Publish[note](
		b.events(t, gateways.EventsConfig{}),
		"note",
		gateways.Keyed(func(n note) string { return n.For }),
	)
	ann := subscribe(t, b.url, "User: ann")
	for _, n := range []note{{"bob", "1"}, {"ann", "2"}} {
		if err := publish(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if m, _ := ann.next(); m.Type != "note" || m.Data != `{"for":"ann","text":"2"}` {
		t.Errorf("got %+v", m)
	}
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	e := s.events(t, gateways.EventsConfig{MaxLen: 100, MaxPayload: 1000})
	publish := gateways.Publish[string](e, "text")
	var all sync.WaitGroup
	for range 8 { // they share pipelines
		all.Go(func() {
			for range 250 {
				if err := publish(t.Context(), "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := s.rdb.XLen(t.Context(), gateways.EventsKey(s.topic)).Val(); n < 100 || n > 400 {
		t.Errorf("%d events are kept", n)
	}
	var large *redisio.TooLargeError
	if err := publish(t.Context(), string(make([]byte, 2000))); !errors.As(err, &large) {
		t.Errorf("a large one: %v", err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := publish(t.Context(), "x"); !errors.Is(err, gateways.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestPublishWaitsForRedis(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	e := gateways.NewEvents(p.Client(t), s.topic, gateways.EventsConfig{})
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	p.SetDown(true)
	publish := gateways.Publish[string](e, "text")
	if err := gateways.Publish[string](e, "text", gateways.Timeout(20*time.Millisecond))(t.Context(),
		"late"); !errors.Is(
		err,
		gateways.ErrTimeout,
	) {
		t.Errorf("without Redis: %v", err)
	}
	published := make(chan error)
	go func() { published <- publish(t.Context(), "x") }()
	p.SetDown(false)
	if err := <-published; err != nil {
		t.Error(err)
	}
	if n := s.rdb.XLen(t.Context(), gateways.EventsKey(s.topic)).Val(); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestEventsConfig(t *testing.T) {
	e := gateways.NewEvents(nil, "", gateways.EventsConfig{MaxLen: -1, MaxPayload: -1, Timeout: -1})
	if n := len(flat(e.Validate())); n != 5 {
		t.Errorf("%d mistakes: %v", n, e.Validate())
	}
	if err := gateways.Publish[string](e, "x")(t.Context(), "x"); err == nil {
		t.Error("it publishes")
	}
	if err := flow.New("bad", flow.To(gateways.Subscribe[string](nil, "", "x", gateways.SubscribeConfig{}),
		sink.Discard[string]())).Validate(); err == nil {
		t.Error("it subscribes")
	}
}
