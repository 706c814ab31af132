package operators

import (
	"context"
	"math"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Idea of the watermark: each message knows the source of its entry, so the stage follows the event
// time of each source by itself, and takes the lowest. This is what marks that travel through the
// stream and meet in a FanIn would give, and no stage before has to know of it. The stage learns
// from flow which sources can reach it, so that one that has delivered nothing yet counts too.

// noTime is before all times.
const noTime = math.MinInt64

// watermark follows the event time of a stage, in nanoseconds since 1970.
type watermark struct {
	slack   int64
	origins map[string]*origin // nil until the first message
	last    *origin            // of the last message
	name    string             // of last
	low     int64              // the watermark; it never goes back
}

// origin is one source.
type origin struct {
	high  int64 // the highest time of its values
	ticks int   // since its last value
}

// idleTicks is the number of ticks after which a source is idle.
const idleTicks = 4

func newWatermark(slack time.Duration) watermark { return watermark{slack: int64(slack), low: noTime} }

// saw records the time of a value.
func saw[T any](ctx context.Context, w *watermark, m flow.Message[T], ts int64) {
	if w.origins == nil {
		w.origins = make(map[string]*origin)
		for _, name := range flow.Origins(ctx) {
			w.origins[name] = &origin{high: noTime}
		}
	}
	if name := m.Origin(); w.last == nil || name != w.name {
		if w.origins[name] == nil { // a message without an entry
			w.origins[name] = &origin{high: noTime}
		}
		w.last, w.name = w.origins[name], name
	}
	o := w.last
	wasIdle := o.ticks >= idleTicks
	o.ticks = 0
	if ts > o.high {
		heldBack := o.high <= w.low+w.slack || w.low == noTime
		if o.high = ts; heldBack || wasIdle {
			w.update()
		}
	}
}

// tick makes all sources a tick older.
func (w *watermark) tick() {
	for _, o := range w.origins {
		o.ticks++
	}
	w.update()
}

// update computes the watermark: the lowest of the sources that are not idle, or the highest of all
// if they all are.
func (w *watermark) update() {
	lowest, highest, active := int64(math.MaxInt64), int64(noTime), false
	for _, o := range w.origins {
		highest = max(highest, o.high)
		if o.ticks < idleTicks {
			active, lowest = true, min(lowest, o.high)
		}
	}
	if !active {
		lowest = highest
	}
	if lowest != noTime {
		w.low = max(w.low, lowest-w.slack)
	}
}

// within returns the nanoseconds of a time, if it is neither zero nor outside the years that they
// can express, with some distance.
func within(t time.Time) (int64, bool) {
	if t.IsZero() || t.Year() < 1700 || t.Year() > 2200 {
		return 0, false
	}
	return t.UnixNano(), true
}
