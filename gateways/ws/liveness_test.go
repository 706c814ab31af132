package ws

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The hub's clock stops while its process is stalled, and no socket is judged after a stall. A
// process that is always late still judges.
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

// The clock never goes back at a tick: neither at the first one, however long Redis was unavailable
// at the start, nor at a late one.
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

// A client is considered dead only if it does not answer a ping that was sent.
func TestPongTimeout(t *testing.T) {
	const second = int64(time.Second)
	for _, c := range []struct {
		name  string
		event func(l *liveness, tick int64)
		dies  int64 // at which tick; 0: not within 100
	}{
		{"it is never pinged", func(*liveness, int64) {}, 0},
		{"it never answers", func(l *liveness, tick int64) {
			if tick == 25 {
				l.asked.Store(25 * second)
			}
		}, 36},
		{"the ping took long to be sent", func(l *liveness, tick int64) {
			if tick == 60 {
				l.asked.Store(25 * second)
			}
		}, 71},
		{"it answers", func(l *liveness, tick int64) {
			if tick%25 == 0 {
				l.asked.Store(tick * second)
				l.seen.Store(tick*second + 1)
			}
		}, 0},
		{"it answers once", func(l *liveness, tick int64) {
			l.asked.Store(tick / 25 * 25 * second)
			if tick == 26 {
				l.seen.Store(tick * second)
			}
		}, 62},
		{"it is behind with reading", func(l *liveness, tick int64) {
			l.asked.Store(tick / 25 * 25 * second)
			if tick%8 == 0 {
				l.moved.Store(tick * second)
			}
		}, 0},
		{"it is our turn", func(l *liveness, tick int64) {
			l.asked.Store(25 * second)
			l.busy.Store(tick < 80)
		}, 80},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := HubConfig{}.withDefaults()
			var l liveness
			l.begin(newClock(), cfg.PingEvery)
			l.greet()
			l.seen.Store(1) // not the time that passed since the start of the clock
			died := int64(0)
			for tick := int64(1); tick <= 100 && died == 0; tick++ {
				c.event(&l, tick)
				if l.check(tick*second, &cfg) == killUnanswered {
					died = tick
				}
			}
			if died != c.dies {
				t.Errorf("it is gone at tick %d, want %d", died, c.dies)
			}
		})
	}
}

// The verdict of a tick depends only on the signs of life.
func TestVerdict(t *testing.T) {
	const second = int64(time.Second)
	cfg := HubConfig{Tuning: Tuning{IdleTimeout: 90 * time.Second}}.withDefaults() // ping 25 s, pong 10 s, read 10 s
	const now = 100 * second
	fresh := signs{alive: now, spoke: now, greeted: true}
	for _, c := range []struct {
		name string
		edit func(*signs)
		want verdict
	}{
		{"alive", func(*signs) {}, keep},
		{"no hello yet", func(s *signs) { s.greeted, s.partial = false, now-10*second }, keep},
		{"no hello in time", func(s *signs) { s.greeted, s.partial = false, now-10*second-1 }, closeNoHello},
		{"a frame in time", func(s *signs) { s.partial = now - 10*second }, keep},
		{"a slow frame", func(s *signs) { s.partial = now - 10*second - 1 }, killSlowFrame},
		{"a slow frame that was processed", func(s *signs) { s.partial, s.busy = now-10*second-1, true }, keep},
		{"a ping is due an answer", func(s *signs) { s.alive, s.silent = now-36*second, now-10*second }, keep},
		{"a ping was not answered", func(s *signs) { s.alive, s.silent = now-36*second, now-11*second }, killUnanswered},
		{"it reads", func(s *signs) { s.alive, s.silent = now-35*second, now-11*second }, keep},
		{"idle", func(s *signs) { s.spoke = now - 90*second - 1 }, closeIdle},
		{"idle and dead", func(s *signs) { s.alive, s.silent, s.spoke = second, second, second }, killUnanswered},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fresh
			c.edit(&s)
			if got := s.verdict(now, &cfg); got != c.want {
				t.Errorf("verdict %d, want %d", got, c.want)
			}
		})
	}
}

// A beat is due every PingEvery, and has a ping only if the client was silent for half of it.
func TestBeat(t *testing.T) {
	const second = int64(time.Second)
	var l liveness
	l.begin(newClock(), 20*time.Second)
	start := l.seen.Load()
	var got []bool
	for tick := int64(1); tick <= 60; tick++ {
		if tick == 35 {
			l.seen.Store(start + tick*second)
		}
		if due, ping := l.beatDue(start+tick*second, 20*time.Second); due {
			got = append(got, ping)
		}
	}
	if want := []bool{true, false, true}; !slices.Equal(got, want) {
		t.Errorf("pings at the beats: %v, want %v", got, want)
	}
}
