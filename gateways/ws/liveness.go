package ws

import (
	"sync/atomic"
	"time"
)

// clock is the time that a hub uses to detect silent clients, in nanoseconds from 1, so that 0
// means never.
//
// Idea: time during which this process was stalled (no processor, or suspended) must not count
// against clients, because their frames could not be read. So the clock excludes late ticks, and no
// socket is closed on a late tick: pending input is read before the next one. Without ticks the
// clock stops one tick after the last, so no recorded event is later than the next tick.
type clock struct {
	began  time.Time
	lost   atomic.Int64 // time excluded so far
	ticked atomic.Int64 // time of the last tick

	// Owned by the hub's loop.
	last time.Duration // last tick, by the system's clock
	late bool          // no socket was judged on it
}

func newClock() *clock { return &clock{began: time.Now()} }

func (c *clock) now() int64 {
	return min(int64(time.Since(c.began))-c.lost.Load()+1, c.ticked.Load()+int64(checkEvery))
}

// tick is called by the hub's loop every checkEvery. judge is false when sockets must be given more
// time. It is never false twice in a row, so a process that is always late still closes dead
// sockets.
func (c *clock) tick() (now int64, judge bool) {
	at := time.Since(c.began)
	late := at - c.last - checkEvery
	if late < checkEvery/2 {
		late = 0
	} else {
		c.lost.Add(int64(late))
	}
	judge = late == 0 || c.late
	c.last, c.late = at, !judge
	now = int64(at) - c.lost.Load() + 1
	c.ticked.Store(now)
	return now, judge
}

// liveness records the signs of life of a client. Times are those of the clock; 0 is never.
type liveness struct {
	clock   *clock
	seen    atomic.Int64 // last frame, pongs included
	spoke   atomic.Int64 // last frame, pings excluded
	partial atomic.Int64 // start of the frame being read; before the hello, start of the socket
	moved   atomic.Int64 // last completed write that had waited for the client to read
	asked   atomic.Int64 // when the last written ping was created
	busy    atomic.Bool  // the reading goroutine does not wait for the client
	greeted atomic.Bool  // the hello was accepted

	// Owned by the hub's loop.
	beat   int64 // when to ping and to send the cursor
	silent int64 // since when a ping is known to be unanswered

	answered int64 // ping that the last pong answered; owned by the reading goroutine
}

// begin sets the times of a new socket.
func (l *liveness) begin(c *clock, pingEvery time.Duration) {
	now := c.now()
	l.clock = c
	l.beat = now + int64(pingEvery)
	l.seen.Store(now)
	l.spoke.Store(now)
	l.partial.Store(now)
}

// heard records a sign of life.
func (l *liveness) heard() { l.seen.Store(l.clock.now()) }

// resume ends a time in which no frame was read. It does not count as silence of the client.
func (l *liveness) resume() {
	l.busy.Store(false)
	l.heard()
}

// frameBegan records the start of a frame. Before the hello the time since the start of the socket
// counts.
func (l *liveness) frameBegan() {
	now := l.clock.now()
	l.seen.Store(now)
	if l.greeted.Load() {
		l.partial.Store(now)
	}
}

func (l *liveness) frameEnded() {
	if l.greeted.Load() {
		l.partial.Store(0)
	}
}

// greet records an accepted hello.
func (l *liveness) greet() {
	l.greeted.Store(true)
	l.partial.Store(0)
}

// pong reports whether a pong answers a ping.
func (l *liveness) pong() bool {
	l.heard()
	asked := l.asked.Load()
	if asked <= l.answered {
		return false
	}
	l.answered = asked
	return true
}

// verdict is what to do with a socket.
type verdict int

const (
	keep           verdict = iota
	closeNoHello           // the hello did not arrive in time
	killSlowFrame          // a frame was not completed in time
	killUnanswered         // a ping was not answered in time
	closeIdle              // nothing but pings and pongs arrived for IdleTimeout
)

// signs is a snapshot of a liveness, from which the verdict follows.
type signs struct {
	alive   int64 // last time that the client sent or read something
	spoke   int64
	partial int64
	silent  int64
	busy    bool
	greeted bool
}

// verdict depends on its arguments only.
func (s signs) verdict(now int64, cfg *HubConfig) verdict {
	since := func(t int64) time.Duration { return time.Duration(now - t) }
	switch {
	case s.busy:
		return keep
	case s.partial != 0 && since(s.partial) > cfg.ReadTimeout && !s.greeted:
		return closeNoHello
	case s.partial != 0 && since(s.partial) > cfg.ReadTimeout:
		return killSlowFrame
	case s.silent != 0 && since(s.silent) > cfg.PongTimeout && since(s.alive) > cfg.PingEvery+cfg.PongTimeout:
		// The second condition: the ping may wait behind a lot of data that the client still reads.
		return killUnanswered
	case cfg.IdleTimeout > 0 && since(s.spoke) > cfg.IdleTimeout:
		return closeIdle
	}
	return keep
}

// check returns the verdict at a tick of the hub's loop.
func (l *liveness) check(now int64, cfg *HubConfig) verdict {
	s := signs{busy: l.busy.Load(), greeted: l.greeted.Load()}
	s.alive, s.partial, s.spoke = max(l.seen.Load(), l.moved.Load()), l.partial.Load(), l.spoke.Load()
	switch {
	case l.asked.Load() <= s.alive:
		l.silent = 0
	case l.silent == 0: // count from now: the time until the ping was written is not the client's silence
		l.silent = now
	}
	s.silent = l.silent
	return s.verdict(now, cfg)
}

// beatDue reports whether the cursor must be sent now, and whether a ping must be too.
func (l *liveness) beatDue(now int64, every time.Duration) (due, ping bool) {
	if now < l.beat {
		return false, false
	}
	l.beat = now + int64(every)
	return true, time.Duration(now-l.seen.Load()) >= every/2
}
