package ws

import (
	"sync/atomic"
	"time"
)

// clock is the time of a hub, by which its sockets are judged: in nanoseconds, from 1 on, so that 0 is never.
//
// Idea: what we were too slow for is nobody's silence. Who shows signs of life may have done so
// while this process had no processor, or was suspended; so the clock stands still when its own
// ticks are late, and a tick that is late judges nobody: who waited to be heard is, until the next
// one. Without ticks it stands a tick ahead of the last: what was seen is never later than the next
// one.
type clock struct {
	began  time.Time
	lost   atomic.Int64 // how long it stood still
	ticked atomic.Int64 // what it showed at the last tick

	// Of the desk.
	last time.Duration // tick, by the system's clock
	late bool          // that one judged nobody
}

func newClock() *clock { return &clock{began: time.Now()} }

func (c *clock) now() int64 {
	return min(int64(time.Since(c.began))-c.lost.Load()+1, c.ticked.Load()+int64(sweepEvery))
}

// tick is what the desk calls every sweepEvery. judge is false when sockets have to be given time:
// never twice in a row, so that a process that is always late judges all the same.
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
