package rig

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/sink"
)

type Notice struct {
	For  string `json:"for"`
	Text string `json:"text"`
}

// Heard collects the events of a subscriber.
type Heard struct {
	mu  sync.Mutex
	got []string
}

func (h *Heard) note(_ context.Context, n Notice) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, n.Text)
	return nil
}

func (h *Heard) Texts() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (s *Stand) Events(t testing.TB, cfg events.PublisherConfig) *events.Publisher {
	t.Helper()
	e := events.NewPublisher(s.RDB, s.Topic, cfg)
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("close events: %v", err)
		}
	})
	return e
}

// Subscriber runs a graph that receives the notes of a topic.
func (s *Stand) Subscriber(t testing.TB, cfg events.SubscribeConfig) *Heard {
	h := &Heard{}
	Start(t, flow.New("subscriber", flow.To(events.Subscribe[Notice](s.RDB, s.Topic, "note", cfg), sink.Func(h.note))))
	return h
}
