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
	return min(int64(time.Since(c.began))-c.lost.Load()+1, c.ticked.Load()+int64(sweepEvery))
}

// tick is called by the hub's loop every sweepEvery. judge is false when sockets must be given more
// time. It is never false twice in a row, so a process that is always late still closes dead
// sockets.
func (c *clock) tick() (now int64, judge bool) {
	at := time.Since(c.began)
	late := at - c.last - sweepEvery
	if late < sweepEvery/2 {
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
