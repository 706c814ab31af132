package events_test

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
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
)

func TestEventsReachEverySubscriber(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	e := publisher(t, s, events.PublisherConfig{})
	one, two := subscriber(t, s, events.SubscribeConfig{}), subscriber(t, s, events.SubscribeConfig{})
	shared := []*heard{
		subscriber(t, s, events.SubscribeConfig{Group: "g"}),
		subscriber(t, s, events.SubscribeConfig{Group: "g"}),
	}
	publish, other := events.Publish[notice](e, "note"), events.Publish[int](e, "number")
	var want []string
	for i := range 50 {
		text := fmt.Sprint(i)
		if err := errors.Join(publish(t.Context(), notice{Text: text}), other(t.Context(), i)); err != nil {
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

// Browsers receive the published events of their own topics.
func TestEventsAreServed(t *testing.T) {
	t.Parallel()
	var key string
	b := rig.NewBoard(t, sse.Config{Feed: func(r *http.Request, _ gateways.Identity) (sse.Feed, error) {
		return sse.Feed{Key: key, Topics: []string{r.Header.Get("User")}}, nil
	}})
	key = events.Key(b.Topic)
	publish := events.Publish[notice](
		publisher(t, b.Stand, events.PublisherConfig{}),
		"note",
		gateways.Keyed(func(n notice) string { return n.For }),
	)
	ann := rig.Subscribe(t, b.URL, "User: ann")
	for _, n := range []notice{{For: "bob", Text: "1"}, {For: "ann", Text: "2"}} {
		if err := publish(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if m, _ := ann.Next(); m.Type != "note" || m.Data != `{"for":"ann","text":"2"}` {
		t.Errorf("got %+v", m)
	}
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	e := publisher(t, s, events.PublisherConfig{MaxLen: 100, MaxPayload: 1000})
	publish := events.Publish[string](e, "text")
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
	if n := s.RDB.XLen(t.Context(), events.Key(s.Topic)).Val(); n < 100 || n > 400 {
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
	s := rig.NewStand(t)
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	e := events.NewPublisher(p.Client(t), s.Topic, events.PublisherConfig{})
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	p.SetDown(true)
	publish := events.Publish[string](e, "text", gateways.Timeout(redistest.Patience))
	if err := events.Publish[string](e, "text", gateways.Timeout(20*time.Millisecond))(t.Context(),
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
	if n := s.RDB.XLen(t.Context(), events.Key(s.Topic)).Val(); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestEventsConfig(t *testing.T) {
	e := events.NewPublisher(nil, "", events.PublisherConfig{MaxLen: -1, MaxPayload: -1, Timeout: -1})
	if n := len(rig.Flat(e.Validate())); n != 5 {
		t.Errorf("%d mistakes: %v", n, e.Validate())
	}
	if err := events.Publish[string](e, "x")(t.Context(), "x"); err == nil {
		t.Error("it publishes")
	}
	if err := flow.New("bad", flow.To(events.Subscribe[string](nil, "", "x", events.SubscribeConfig{}),
		sink.Discard[string]())).Validate(); err == nil {
		t.Error("it subscribes")
	}
}
