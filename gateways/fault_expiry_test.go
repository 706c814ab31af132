package gateways_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Messages without an answer expire too: services skip and count those that are too old.
func TestFault_S2_MessagesExpire(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	for _, expiry := range []time.Duration{time.Nanosecond, 0, -1} {
		c := s.Client(t, gateways.ClientConfig{SendExpiry: expiry})
		if err := gateways.Send[string](c, "note")(t.Context(), expiry.String()); err != nil {
			t.Fatal(err)
		}
	}
	var limits []any
	for _, e := range s.RDB.XRange(t.Context(), s.Topic, "-", "+").Val() {
		limits = append(limits, e.Values["limit"])
	}
	if want := []any{"1", "86400000", nil}; !slices.Equal(limits, want) {
		t.Errorf("limits %v, want %v", limits, want)
	}
	told := make(chan string, 3)
	svc := s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.HandleVoid(svc, "note", func(_ context.Context, v string) error { told <- v; return nil })
	})
	redistest.Soon(t, "those that are not too old are handled", func() bool { return len(told) == 2 })
	redistest.Soon(t, "one is skipped", func() bool { return svc.Stats().Expired == 1 })
}
