package ws

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// The hub's clock stands still while its process does, and judges nobody for that; but a process
// that is always late judges.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		for _, step := range []struct {
			slept, ran time.Duration
			judge      bool
		}{
			{time.Second, time.Second, true},
			{1400 * time.Millisecond, 1400 * time.Millisecond, true},
			{600 * time.Millisecond, 600 * time.Millisecond, true},
			{time.Hour, time.Second, false},
			{time.Second, time.Second, true},
			{3 * time.Second, time.Second, false},
			{3 * time.Second, time.Second, true},
			{3 * time.Second, time.Second, false},
		} {
			before := c.now()
			time.Sleep(step.slept) // of the bubble
			now, judge := c.tick()
			if ran := time.Duration(now - before); ran != step.ran || judge != step.judge {
				t.Errorf(
					"after %v: it ran for %v, judges: %v; want %v, %v",
					step.slept,
					ran,
					judge,
					step.ran,
					step.judge,
				)
			}
		}
	})
}

// Nothing is ever seen later than the next tick: neither before the first, however long Redis was
// away when the hub began, nor before one that is late.
func TestClockNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		for range 3 {
			time.Sleep(time.Hour) // of the bubble
			seen := c.now()
			time.Sleep(time.Second)
			if now, _ := c.tick(); now < seen {
				t.Errorf("it went back by %v", time.Duration(seen-now))
			}
		}
	})
}

// A client is gone when it does not answer a ping that was sent, and no sooner.
func TestPongTimeout(t *testing.T) {
	const second = int64(time.Second)
	for _, c := range []struct {
		name  string
		event func(s *socket, tick int64)
		dies  int64 // at which tick; 0: not within 100
	}{
		{"it is never pinged", func(*socket, int64) {}, 0},
		{"it never answers", func(s *socket, tick int64) {
			if tick == 25 {
				s.asked.Store(25 * second)
			}
		}, 36},
		{"the ping took long to be sent", func(s *socket, tick int64) {
			if tick == 60 {
				s.asked.Store(25 * second)
			}
		}, 71},
		{"it answers", func(s *socket, tick int64) {
			if tick%25 == 0 {
				s.asked.Store(tick * second)
				s.seen.Store(tick*second + 1)
			}
		}, 0},
		{"it answers once", func(s *socket, tick int64) {
			s.asked.Store(tick / 25 * 25 * second)
			if tick == 26 {
				s.seen.Store(tick * second)
			}
		}, 62},
		{"it is behind with reading", func(s *socket, tick int64) {
			s.asked.Store(tick / 25 * 25 * second)
			if tick%8 == 0 {
				s.wire.moved.Store(tick * second)
			}
		}, 0},
		{"it is our turn", func(s *socket, tick int64) {
			s.asked.Store(25 * second)
			s.busy.Store(tick < 80)
		}, 80},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			h := &Hub{cfg: HubConfig{}.withDefaults(), clock: newClock()}
			s := newSocket(h, &life{ctx: context.Background()}, Identity{})
			defer s.cancel(nil)
			s.wire = &wire{Conn: ours, clock: h.clock}
			s.partial.Store(0) // it has said hello
			s.writing = true   // nobody writes: what is sent, the table says
			died := int64(0)
			for tick := int64(1); tick <= 100 && died == 0; tick++ {
				c.event(s, tick)
				s.look(tick*second, true)
				if s.ctx.Err() != nil {
					died = tick
				}
			}
			if died != c.dies {
				t.Errorf("it is gone at tick %d, want %d", died, c.dies)
			}
		})
	}
}
