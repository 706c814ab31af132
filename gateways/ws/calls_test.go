package ws

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
)

// idleSocket returns a socket without a connection. Its writer does nothing.
func idleSocket(t *testing.T, cfg HubConfig) *socket {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "unused"})
	t.Cleanup(func() { _ = rdb.Close() })
	s := newSocket(NewHub(rdb, "hub", cfg), &hubRun{ctx: t.Context()}, gateways.Identity{User: "ann"}, func() {})
	s.out.start = func() {}
	return s
}

// The id and the place of a call are free before the writer can take the call's last frame.
func TestCallIDIsFreeWithTheLastFrame(t *testing.T) {
	s := idleSocket(t, HubConfig{Limits: Limits{MaxCalls: 1}})
	var wrong *fault
	answer := func(context.Context) reply { return reply{Kind: "reply", ID: "1"} }
	s.out.start = func() { // the first frame waits
		s.out.start = func() {}
		wrong = s.calls.start(s, "1", answer)
	}
	if f := s.calls.start(s, "1", answer); f != nil {
		t.Fatal(f)
	}
	s.work.Wait()
	if wrong != nil {
		t.Errorf("the same id after the last frame: %s", wrong.code)
	}
	if !s.calls.none() {
		t.Error("a call is left")
	}
}

// A call ends also if its last frame is not sent because the hub stops. Otherwise the socket would
// wait for it.
func TestCallEndsWithoutItsLastFrame(t *testing.T) {
	s := idleSocket(t, HubConfig{})
	for range mostFrames {
		s.out.add(byeFrame)
	}
	if f := s.calls.start(s, "1", func(context.Context) reply { return reply{Kind: "reply"} }); f != nil {
		t.Fatal(f)
	}
	s.cancel(errClosing)
	s.work.Wait()
	if !s.calls.none() {
		t.Error("the call is left")
	}
}
