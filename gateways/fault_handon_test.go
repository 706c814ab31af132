package gateways_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Processes of a group that handle different types hand on requests that only another one handles.
// They answer at once if no process handles the type.
func TestFault_G7_TypesOfOtherProcesses(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	var mu sync.Mutex
	told, began := make(map[string]int), time.Now() // how often each note was handled
	heard := func(note string) int {
		mu.Lock()
		defer mu.Unlock()
		return told[note]
	}
	answer := func(_ context.Context, v string) (string, error) { return v, nil }
	old := s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "old", answer) })
	fresh := gateways.NewService(s.RDB, s.Topic, gateways.ServiceConfig{})
	gateways.Handle(fresh, "new", answer)
	gateways.HandleVoid(fresh, "note", func(_ context.Context, v string) error {
		mu.Lock()
		defer mu.Unlock()
		told[v]++
		return nil
	})
	gateways.HandleStream(fresh, "parts", func(_ context.Context, v string, send func(string) error) error {
		return errors.Join(send(v), send(v))
	})
	run := rig.Start(t, fresh.Graph())
	redistest.Soon(t, "both announce their types", func() bool { // else "new" would be answered at once
		return s.RDB.ZCard(t.Context(), "{"+s.Topic+"}:types").Val() == 2
	})
	c := s.Client(t, gateways.ClientConfig{Timeout: redistest.Patience})
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 20 {
		for _, typ := range []string{"old", "new"} {
			wg.Go(func() {
				if got, err := gateways.Call[string, string](c, typ)(t.Context(), typ); err != nil || got != typ {
					t.Errorf("%s: %q, %v", typ, got, err)
				}
			})
		}
		if err := gateways.Send[string](c, "note")(t.Context(), strconv.Itoa(i)); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	for i := range 20 {
		redistest.Soon(t, "a note is handled", func() bool { return heard(strconv.Itoa(i)) > 0 })
		// If handing on takes longer than a second, it is tried again.
		if n := heard(strconv.Itoa(i)); n > 1 && time.Since(began) < time.Second {
			t.Errorf("note %d was handled %d times", i, n)
		}
	}
	redistest.Soon(t, "a streamed reply", func() bool {
		var parts []string
		for v, err := range gateways.Stream[string, string](c, "parts")(t.Context(), "y") {
			if errors.Is(err, gateways.ErrInterrupted) { // handing it on took too long: repeat the request
				return false
			}
			if err != nil {
				t.Error(err)
			}
			parts = append(parts, v)
		}
		if strings.Join(parts, "") != "yy" {
			t.Errorf("parts: %q", parts)
		}
		return true
	})
	if old.Stats().HandedOn+fresh.Stats().HandedOn == 0 {
		t.Error("nothing was handed on")
	}
	nobody := gateways.Call[string, string](c, "nobody")
	if _, err := nobody(t.Context(), "x"); !errors.Is(err, gateways.ErrNoHandler) {
		t.Errorf("a type that nobody knows: %v", err)
	}
	s.RDB.XAdd(t.Context(), redistest.Entry(s.Topic, "data", "z", "type", "note", "h::handed", "1 others"))
	redistest.Soon(
		t,
		"all is settled",
		func() bool { return s.Pending(t) == 0 && s.RDB.XLen(t.Context(), s.Topic).Val() <= 2 },
	)
	if heard("z") > 0 {
		t.Error("a request was handled that was handed on in another group")
	}
	if _, err := run.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "nobody knows the types of a process that left", func() bool {
		_, err := gateways.Call[string, string](c, "new")(t.Context(), "x")
		return errors.Is(err, gateways.ErrNoHandler)
	})
}
