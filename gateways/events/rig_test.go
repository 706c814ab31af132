package events_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/sink"
)

type notice struct {
	For  string `json:"for"`
	Text string `json:"text"`
}

// heard collects the events of a subscriber.
type heard struct {
	mu  sync.Mutex
	got []string
}

func (h *heard) note(_ context.Context, n notice) error {
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

func publisher(t testing.TB, s *rig.Stand, cfg events.PublisherConfig) *events.Publisher {
	t.Helper()
	e := events.NewPublisher(s.RDB, s.Topic, cfg)
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("close events: %v", err)
		}
	})
	return e
}

// subscriber runs a graph that receives the notes of a topic.
func subscriber(t testing.TB, s *rig.Stand, cfg events.SubscribeConfig) *heard {
	h := &heard{}
	notes := events.Subscribe[notice](s.RDB, s.Topic, "note", cfg)
	rig.Start(t, flow.New("subscriber", flow.To(notes, sink.Func(h.note))))
	return h
}
