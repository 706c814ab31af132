package gateways_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio"
)

// Events are kept by bytes, not by number alone.
func TestFault_S1_EventsHaveABudgetOfBytes(t *testing.T) {
	s := newStand(t)
	events := gateways.NewEvents(s.rdb, s.topic, gateways.EventsConfig{MaxBytes: 1 << 20})
	publish := gateways.Publish[string](events, "created")
	for range 200 {
		if err := publish(t.Context(), strings.Repeat("x", 20_000)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.rdb.MemoryUsage(t.Context(), gateways.EventsKey(s.topic)).Val(); n == 0 || n > 2<<20 {
		t.Errorf("the events take %d bytes, the budget is 1 MiB", n)
	}
	if err := events.Close(context.Background()); err != nil {
		t.Error(err)
	}
	var wrong *redisio.ConfigError
	if err := gateways.NewEvents(s.rdb, s.topic, gateways.EventsConfig{MaxBytes: 1000}).Validate(); !errors.As(
		err,
		&wrong,
	) {
		t.Errorf("a budget of 1000 bytes: %v", err)
	}
}
