package operators

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators/internal/due"
	"github.com/streamerson/streamerson-go/operators/internal/lru"
	"github.com/streamerson/streamerson-go/operators/window"
)

// Window computes an aggregate of each time and key. The package window has the
// kinds of windows, the aggregates, and what event time means.
//
// The second output has the values that no window took, unchanged. These came too late, or have no
// time (zero, or outside the years 1700 to 2200), or one too far ahead. Values with a key that is not
// equal to itself (NaN) go there too, and those that would open more windows than MaxWindows. An
// error or a panic of a function is a fault of its value.
//
// A window ends with an OnTime pane, also if in ends before the window does. When the graph
// drains, the entries of open windows go back to their sources. If one cannot, the windows fire an
// Early pane. An entry that is delivered again, because its result failed for example, is a late
// value if its window has fired. With Lateness it is counted again. Window runs on its own goroutine
// (flow.Async), so that a slow stage before it does not delay its timers.
//
//	in       --1--2--3--14--4--25--|
//	results  -----------(3)----(1)-(1)|  tumbling windows of 10, which count
//	late     ---------------4------|
//
// Order: by the windows' ends; late values keep theirs. Acks: an entry is acked when its windows have,
// or the late value is.
// Holds: up to MaxHeld entries, and MaxWindows aggregates. Ends: when in ends, after all windows have fired.
func Window[T any, K comparable, A, R any](
	in flow.Source[T], cfg window.Config[T, K], agg window.Aggregate[T, A, R], opts ...flow.StageOption,
) (results flow.Source[window.Result[K, R]], late flow.Source[T]) {
	cfg = windowDefaults(cfg)
	return flow.ForkVia(in, "window", func() flow.ForkHandler[T, window.Result[K, R], T] {
		return newWindows(cfg, agg)
	}, with(append(opts, windowMistakes(cfg)...),
		function("Key", cfg.Key != nil), function("agg.New", agg.New != nil), function("agg.Add", agg.Add != nil),
		function("agg.Merge", agg.Merge != nil), function("agg.Result", agg.Result != nil),
		flow.Async(), flow.Traits{Holds: max(cfg.MaxHeld, 1), Joins: true})...)
}

const maxAhead = 24 * time.Hour

func windowDefaults[T any, K comparable](cfg window.Config[T, K]) window.Config[T, K] {
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.MaxAhead == 0 {
		cfg.MaxAhead = maxAhead
	}
	if cfg.MaxWindows == 0 {
		cfg.MaxWindows = 10_000
	}
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = 1024
	}
	return cfg
}

// maxPanes is the largest number of panes in a window, and of windows that a value belongs to.
const maxPanes = 1000

func windowMistakes[T any, K comparable](cfg window.Config[T, K]) (mistakes []flow.StageOption) {
	notNegative := func(field string, d time.Duration) {
		if d < 0 {
			mistakes = append(mistakes, flow.Invalid(field, d.String(), "give zero or more"))
		}
	}
	notNegative("Slack", cfg.Slack)
	notNegative("Lateness", cfg.Lateness)
	notNegative("Quiet", cfg.Quiet)
	notNegative("Early", cfg.Early)
	mistakes = append(mistakes,
		atLeastOne("MaxWindows", cfg.MaxWindows, "windows"), atLeastOne("MaxHeld", cfg.MaxHeld, "entries"))
	switch w := cfg.Windows; {
	case w.Kind == window.Sessions:
		mistakes = append(mistakes, positive("Windows.Gap", w.Gap))
	case w.Kind == window.Counts:
		mistakes = append(mistakes, atLeastOne("Windows.N", w.N, "values in a window"))
	case w.Kind != window.Time:
		mistakes = append(
			mistakes,
			flow.Invalid("Windows", "no windows are given", "give window.Tumbling or another kind"),
		)
	case w.Size <= 0 || w.Every <= 0:
		mistakes = append(mistakes, positive("Windows.Size", w.Size), positive("Windows.Every", w.Every))
	case w.Every > w.Size:
		mistakes = append(mistakes, flow.Invalid("Windows.Every",
			fmt.Sprintf("%v is more than the size of %v: values between two windows would be lost", w.Every, w.Size),
			"give at most the size"))
	case int64(w.Size)/gcd(int64(w.Size), int64(w.Every)) > maxPanes:
		mistakes = append(mistakes, flow.Invalid("Windows.Every",
			fmt.Sprintf("windows of %v every %v have more than %d panes", w.Size, w.Every, maxPanes),
			"give a larger one that divides the size"))
	}
	return mistakes
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// windows is the handler of Window. The other files of this family have its parts: placing a value
// (window_place.go), firing (window_fire.go), the windows in order (window_due.go) and event time
// (watermark.go).
type windows[T any, K comparable, A, R any] struct {
	cfg   window.Config[T, K]
	agg   window.Aggregate[T, A, R]
	width int64 // of a pane of time windows

	mark   watermark
	clock  int64 // processing time; it does not go back
	timers windowTimers

	panes    map[slot[K]]*pane[T, K, A]     // of time windows
	slots    map[slot[K]]*open[T, K, A]     // time windows by their start
	sessions map[K][]*open[T, K, A]         // open sessions, by start
	counts   map[K]*open[T, K, A]           // count windows
	due      due.Queue[*open[T, K, A]]      // all of these, by what is due next: to fire, then to accept no more
	holding  lru.Map[*pane[T, K, A], empty] // panes with held entries, the one with the oldest first
	held     int                            // number of held entries
	seq      uint64                         // number of windows so far

	call[T, K, R]
}

// call is what the current call of the handler has received.
type call[T any, K comparable, R any] struct {
	ctx     context.Context
	results flow.Emit[window.Result[K, R]]
	scratch []flow.Held[T]
}

type empty = struct{}

// slot is a time of a key.
type slot[K comparable] struct {
	key   K
	start int64
}

// open is a window from its first value until it accepts no more.
type open[T any, K comparable, A any] struct {
	key        K
	start, end int64
	panes      []*pane[T, K, A] // by time
	fired      bool             // at its end
	ended      int              // how often it has fired at its end: sessions may grow after that
	early      int              // number of Early panes so far
	late       int              // number of Late panes so far
	changed    bool             // since its last pane
	due        int64            // when to fire, or to accept no more
	seq        uint64           // order of windows that are due together
	place      due.Place        // in windows.due
}

// pane is the aggregate of the values that belong to the same windows.
type pane[T any, K comparable, A any] struct {
	slot    slot[K]
	acc     A
	n       int
	windows []*open[T, K, A] // that accept values
	held    []flow.Held[T]
	entries int // number of held entries: several may be joined to one
}

func newWindows[T any, K comparable, A, R any](
	cfg window.Config[T, K], agg window.Aggregate[T, A, R],
) *windows[T, K, A, R] {
	h := &windows[T, K, A, R]{
		cfg: cfg, agg: agg, mark: newWatermark(cfg.Slack), clock: noTime,
		panes: make(map[slot[K]]*pane[T, K, A]), slots: make(map[slot[K]]*open[T, K, A]),
		sessions: make(map[K][]*open[T, K, A]), counts: make(map[K]*open[T, K, A]),
	}
	if cfg.Windows.Kind == window.Time {
		h.width = gcd(int64(cfg.Windows.Size), int64(cfg.Windows.Every))
	}
	h.timers = newWindowTimers(cfg.Time != nil, cfg.Idle, cfg.Quiet, cfg.Early)
	h.now()
	return h
}

// now reads the clock.
func (h *windows[T, K, A, R]) now() int64 {
	h.clock = max(h.clock, time.Now().UnixNano())
	return h.clock
}

// low is up to where the windows have all their values.
func (h *windows[T, K, A, R]) low() int64 {
	if h.cfg.Time != nil {
		return h.mark.low
	}
	return h.clock
}

func (h *windows[T, K, A, R]) Handle(
	ctx context.Context, m flow.Message[T], results flow.Emit[window.Result[K, R]], late flow.Emit[T],
) error {
	h.ctx, h.results = ctx, results
	h.timers.arrived()
	if h.cfg.Time == nil {
		h.now()
		h.fireDue() // its windows ended before this value
	}
	key, ts, valid, err := h.locate(m.Value)
	if err != nil {
		return err
	}
	took := false
	if valid {
		if took, err = h.place(m, key, ts); err != nil {
			return err
		}
		if h.cfg.Time != nil {
			saw(ctx, &h.mark, m, ts)
		}
	}
	if !took {
		late(m)
	}
	h.fireDue()
	h.shed()
	return nil
}

// locate returns the key and the time of a value. It reports false if one of them is of no use.
func (h *windows[T, K, A, R]) locate(v T) (key K, ts int64, valid bool, err error) {
	if key, err = calm(v, h.cfg.Key); err != nil {
		return key, 0, false, fmt.Errorf("operators: window: Key: %w", err)
	}
	if h.cfg.Time == nil {
		return key, h.clock, key == key, nil
	}
	at, err := calm(v, h.cfg.Time)
	if err != nil {
		return key, 0, false, fmt.Errorf("operators: window: Time: %w", err)
	}
	ts, valid = within(at)
	ahead := int64(h.cfg.MaxAhead)
	if valid && ahead >= 0 && ts-ahead > h.clock {
		valid = ts-ahead <= h.now()
	}
	return key, ts, valid && key == key, nil
}

// Next returns when something is due by the clock.
func (h *windows[T, K, A, R]) Next() time.Time {
	next := h.timers.next
	if h.cfg.Time == nil && h.due.Len() > 0 && h.due.First().due != never {
		if first := time.Unix(0, h.due.First().due); next.IsZero() || first.Before(next) {
			next = first
		}
	}
	return next
}

func (h *windows[T, K, A, R]) Ring(
	ctx context.Context, results flow.Emit[window.Result[K, R]], _ flow.Emit[T],
) error {
	h.ctx, h.results = ctx, results
	h.now()
	idle, quiet, early := h.timers.ring()
	if idle {
		h.mark.tick()
	}
	h.fireDue()
	if early {
		h.fireEarly()
	}
	if quiet {
		h.settle()
	}
	return nil
}

// settle ends all windows, because no values come.
func (h *windows[T, K, A, R]) settle() {
	if h.cfg.Windows.Kind == window.Counts {
		h.fireAll(window.OnTime)
		return
	}
	if h.cfg.Time == nil {
		return // they end by the clock
	}
	for _, w := range h.due.All() {
		h.mark.low = max(h.mark.low, w.end)
	}
	h.fireDue()
}

// End fires what is left. When the graph drains, it gives the entries back, so that the windows are
// computed as a whole later.
func (h *windows[T, K, A, R]) End(
	ctx context.Context, results flow.Emit[window.Result[K, R]], _ flow.Emit[T],
) error {
	h.ctx, h.results = ctx, results
	switch {
	case !draining(ctx):
		h.fireAll(window.OnTime)
	case !h.giveBack():
		h.fireAll(window.Early)
	}
	return nil
}
