package operators

import (
	"cmp"
	"math"
	"slices"
	"time"

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
