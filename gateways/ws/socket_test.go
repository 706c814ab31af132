package ws

import (
	"net"
	"os"
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
	err       error
}

func (c failing) Write([]byte) (int, error) {
	c.meanwhile()
	return 0, c.err
}

// A socket that is closed because its client is slow, and then killed, is counted once.
// One whose client is gone is not slow.
func TestSlowIsCountedOnce(t *testing.T) {
	closing := func(s *socket) { s.obey(closeNoHello) }
	for name, c := range map[string]struct {
		meanwhile func(*socket)
		err       error
		slow      uint64
	}{
		"slow twice":     {closing, os.ErrDeadlineExceeded, 1},
		"does not read":  {func(*socket) {}, os.ErrDeadlineExceeded, 1},
		"disconnected":   {func(*socket) {}, net.ErrClosed, 0},
		"slow, and gone": {closing, net.ErrClosed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := idleSocket(t, HubConfig{})
			mine, _ := net.Pipe()
			s.wire = &wire{Conn: failing{mine, func() { c.meanwhile(s) }, c.err}, live: &s.live}
			s.out.add(pingFrame)
			s.write()
			if n := s.hub.Stats().Slow; n != c.slow {
				t.Errorf("counted %d times, want %d", n, c.slow)
			}
			if s.ctx.Err() == nil {
				t.Error("it was not killed")
			}
		})
	}
}
