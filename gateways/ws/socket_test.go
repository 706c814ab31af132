package ws

import (
	"errors"
	"net"
	"testing"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A socket is closed because its hello is missing, or the hello is accepted: never both.
func TestHelloAtTheLimit(t *testing.T) {
	t.Run("the hello is first", func(t *testing.T) {
		s := idleSocket(t, HubConfig{})
		s.live.greet()
		s.obey(closeNoHello)
		if s.out.bye != nil || s.hub.Stats().Slow != 0 {
			t.Errorf("closed with %v, counted %d times", s.out.bye, s.hub.Stats().Slow)
		}
	})
	t.Run("the verdict is first", func(t *testing.T) {
		rdb, name := redistest.Shared(t).Client(t), redistest.Key(t)
		h := NewHub(rdb, name, HubConfig{Presence: true, Tuning: Tuning{SendTimeout: redistest.Patience}})
		run := &hubRun{hub: h, ctx: t.Context(), seal: newSealer(rdb, name, h.keys.seal, []string{"a secret"})}
		s := newSocket(h, run, gateways.Identity{User: "ann"}, func() {})
		s.out.start = func() {}
		s.obey(closeNoHello)
		if s.in.handle([]byte(`{"kind":"hello","rooms":["lobby"]}`)) {
			t.Error("the reader continues")
		}
		if s.live.greeted.Load() || len(s.out.frames) > 0 {
			t.Fatalf("the hello is accepted, and answered by %q", s.out.frames)
		}
		s.in.depart() // without an inbox it would panic if it told of a session that never began
		if n := h.Stats().Rooms; n != 0 {
			t.Errorf("%d rooms are left", n)
		}
	})
}

// failing is a connection on which a write fails, after its function.
type failing struct {
	net.Conn
	meanwhile func()
}

func (c failing) Write([]byte) (int, error) {
	c.meanwhile()
	return 0, errors.New("the client does not read")
}

// A socket that is closed because its client is slow, and then killed, is counted once.
func TestSlowIsCountedOnce(t *testing.T) {
	s := idleSocket(t, HubConfig{})
	mine, _ := net.Pipe()
	s.wire = &wire{Conn: failing{mine, func() { s.obey(closeNoHello) }}, live: &s.live}
	s.out.add(pingFrame)
	s.write()
	if n := s.hub.Stats().Slow; n != 1 {
		t.Errorf("counted %d times", n)
	}
	if s.ctx.Err() == nil {
		t.Error("it was not killed")
	}
}
