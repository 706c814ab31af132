package operators

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators/internal/due"
	"github.com/streamerson/streamerson-go/operators/window"
)

// never is after all times.
const never = math.MaxInt64

// Place implements due.Item.
func (w *open[T, K, A]) Place() *due.Place { return &w.place }

// Before implements due.Item.
func (w *open[T, K, A]) Before(other *open[T, K, A]) bool { return w.before(other) < 0 }

// before orders windows by what is due next, and then by age.
func (w *open[T, K, A]) before(other *open[T, K, A]) int {
	return cmp.Or(cmp.Compare(w.due, other.due), cmp.Compare(w.seq, other.seq))
}

// opened makes a window and puts it in order.
func (h *windows[T, K, A, R]) opened(key K, start, end int64) *open[T, K, A] {
	h.seq++
	w := &open[T, K, A]{key: key, start: start, end: end, seq: h.seq}
	w.fired = h.cfg.Windows.Kind != window.Counts && end <= h.low()
	w.due = h.dueAt(w)
	h.due.Add(w)
	return w
}

// dueAt returns when a window fires, or accepts no more if it has fired.
func (h *windows[T, K, A, R]) dueAt(w *open[T, K, A]) int64 {
	switch {
	case h.cfg.Windows.Kind == window.Counts:
		return never
	case w.fired:
		return w.end + int64(h.cfg.Lateness)
	default:
		return w.end
	}
}

// reorder puts a window in order again, after its end has changed or it has fired.
func (h *windows[T, K, A, R]) reorder(w *open[T, K, A]) {
	w.due = h.dueAt(w)
	h.due.Fix(w)
}

// close removes a window. It has no held entries of its own any more.
func (h *windows[T, K, A, R]) close(w *open[T, K, A]) {
	h.due.Remove(w)
	for _, p := range w.panes {
		p.windows = slices.DeleteFunc(p.windows, func(of *open[T, K, A]) bool { return of == w })
		if len(p.windows) == 0 && h.width > 0 {
			delete(h.panes, p.slot)
		}
	}
	switch h.cfg.Windows.Kind {
	case window.Counts:
		delete(h.counts, w.key)
	case window.Sessions:
		left := slices.DeleteFunc(h.sessions[w.key], func(of *open[T, K, A]) bool { return of == w })
		if h.sessions[w.key] = left; len(left) == 0 {
			delete(h.sessions, w.key)
		}
	default:
		delete(h.slots, slot[K]{w.key, w.start})
	}
}

// inOrder returns all windows in order.
func (h *windows[T, K, A, R]) inOrder() []*open[T, K, A] {
	return slices.SortedFunc(slices.Values(h.due.All()), func(a, b *open[T, K, A]) int { return a.before(b) })
}

// windowTimers are the timers of a stage with windows.
type windowTimers struct {
	idle, quiet, early ticker
	calm               int       // quiet's ticks since the last value
	next               time.Time // when the first is due; zero: never
}

// ticker is due every so often; 0: never.
type ticker struct {
	every time.Duration
	at    time.Time
}

func newWindowTimers(eventTime bool, idle, quiet, early time.Duration) windowTimers {
	t := windowTimers{early: ticker{every: early}}
	if eventTime {
		t.idle.every = idle / idleTicks
	}
	t.quiet.every = quiet / idleTicks
	t.ring()
	return t
}

// arrived records that a value has arrived.
func (t *windowTimers) arrived() { t.calm = 0 }

// ring returns which timers are due, and starts them again.
func (t *windowTimers) ring() (idle, quiet, early bool) {
	now := time.Now()
	t.next = time.Time{}
	idle, quiet, early = t.tick(&t.idle, now), t.tick(&t.quiet, now), t.tick(&t.early, now)
	if quiet {
		t.calm++
		quiet = t.calm == idleTicks
	}
	return idle, quiet, early
}

func (t *windowTimers) tick(one *ticker, now time.Time) (due bool) {
	if one.every <= 0 {
		return false
	}
	if due = !one.at.IsZero() && !now.Before(one.at); due || one.at.IsZero() {
		one.at = now.Add(one.every)
	}
	if t.next.IsZero() || one.at.Before(t.next) {
		t.next = one.at
	}
	return due
}

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
