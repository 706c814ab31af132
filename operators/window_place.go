package operators

import (
	"fmt"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators/window"
)

// place adds a value to its windows. It reports false if no window takes it. An error leaves
// everything as it was.
func (h *windows[T, K, A, R]) place(m flow.Message[T], key K, ts int64) (bool, error) {
	switch h.cfg.Windows.Kind {
	case window.Sessions:
		return h.placeInSession(m, key, ts)
	case window.Counts:
		return h.placeInCount(m, key, ts)
	default:
		return h.placeInTime(m, key, ts)
	}
}

// add returns the aggregate with one more value. A panic of it is an error.
func (h *windows[T, K, A, R]) add(p *pane[T, K, A], v T) (acc A, err error) {
	var panicked error
	func() {
		defer flow.Catch(&panicked)
		if p != nil {
			acc = p.acc
		} else {
			acc = h.agg.New()
		}
		acc, err = h.agg.Add(acc, v)
	}()
	if panicked != nil {
		err = panicked
	}
	if err != nil {
		err = fmt.Errorf("operators: window: Add: %w", err)
	}
	return acc, err
}

// keep stores the aggregate with the value of a message. The message is held for the windows that
// have not fired, and those that have fired do it again.
func (h *windows[T, K, A, R]) keep(p *pane[T, K, A], acc A, m flow.Message[T]) {
	p.acc = acc
	p.n++
	waits := false
	for _, w := range p.windows {
		w.changed = true
		waits = waits || !w.fired
		if w.fired {
			h.fireLate(w, m)
		}
	}
	if !waits {
		return
	}
	if p.entries == 0 {
		h.holding.Add(p, empty{})
	}
	p.held = append(p.held, flow.Hold(h.ctx, m))
	p.entries++
	h.held++
}

// release returns the held messages of a pane, which then holds none. The slice is valid until the
// pane holds again.
func (h *windows[T, K, A, R]) release(p *pane[T, K, A]) []flow.Held[T] {
	held := p.held
	h.held -= p.entries
	p.held, p.entries = p.held[:0], 0
	h.holding.Delete(p)
	return held
}

func floor(ts, by int64) int64 {
	over := ts % by
	if over < 0 {
		over += by
	}
	return ts - over
}

func (h *windows[T, K, A, R]) placeInTime(m flow.Message[T], key K, ts int64) (bool, error) {
	s := slot[K]{key, floor(ts, h.width)}
	p := h.panes[s]
	if p == nil && !h.fits(s) {
		return false, nil
	}
	acc, err := h.add(p, m.Value)
	if err != nil {
		return false, err
	}
	if p == nil {
		p = &pane[T, K, A]{slot: s}
		h.panes[s] = p
		h.eachAround(s, func(around slot[K]) {
			w := h.slots[around]
			if w == nil {
				w = h.opened(key, around.start, around.start+int64(h.cfg.Windows.Size))
				h.slots[around] = w
			}
			at, _ := slices.BinarySearchFunc(w.panes, s.start, func(p *pane[T, K, A], start int64) int {
				return int(max(min(p.slot.start-start, 1), -1))
			})
			w.panes = slices.Insert(w.panes, at, p)
			p.windows = append(p.windows, w)
		})
	}
	h.keep(p, acc, m)
	return true, nil
}

// eachAround calls f with the slots of all windows around a pane that still accept values.
func (h *windows[T, K, A, R]) eachAround(s slot[K], f func(slot[K])) {
	size, every := int64(h.cfg.Windows.Size), int64(h.cfg.Windows.Every)
	for start := floor(s.start-size, every) + every; start <= s.start; start += every {
		if start+size+int64(h.cfg.Lateness) > h.low() {
			f(slot[K]{s.key, start})
		}
	}
}

// fits reports whether there are windows for a new pane, or there may be.
func (h *windows[T, K, A, R]) fits(s slot[K]) bool {
	all, more := 0, 0
	h.eachAround(s, func(around slot[K]) {
		all++
		if h.slots[around] == nil {
			more++
		}
	})
	return all > 0 && h.due.Len()+more <= h.cfg.MaxWindows
}

// placeInSession adds a value to the session around it. If the value is in no session, it makes
// one. If the value is in several, it joins them.
func (h *windows[T, K, A, R]) placeInSession(m flow.Message[T], key K, ts int64) (bool, error) {
	start, end := ts, ts+int64(h.cfg.Windows.Gap)
	all := h.sessions[key]
	from := 0
	for from < len(all) && all[from].end <= start {
		from++
	}
	to := from
	for to < len(all) && all[to].start < end {
		to++
	}
	if from == to {
		if end+int64(h.cfg.Lateness) <= h.low() || h.due.Len() >= h.cfg.MaxWindows {
			return false, nil
		}
		acc, err := h.add(nil, m.Value)
		if err != nil {
			return false, err
		}
		w := h.opened(key, start, end)
		p := &pane[T, K, A]{windows: []*open[T, K, A]{w}}
		w.panes = append(w.panes, p)
		h.sessions[key] = slices.Insert(all, from, w)
		h.keep(p, acc, m)
		return true, nil
	}
	w := all[from]
	p := w.panes[0]
	joined := *p
	if to-from > 1 {
		acc, err := h.merged(all[from:to])
		if err != nil {
			return false, err
		}
		joined.acc = acc
	}
	acc, err := h.add(&joined, m.Value)
	if err != nil {
		return false, err
	}
	for _, other := range slices.Clone(all[from+1 : to]) {
		h.absorb(w, other)
	}
	w.start, w.end = min(w.start, start), max(w.end, end)
	w.fired = w.end <= h.low()
	h.reorder(w)
	h.keep(p, acc, m)
	return true, nil
}

// merged returns the aggregate of several sessions. It does not change theirs.
func (h *windows[T, K, A, R]) merged(all []*open[T, K, A]) (acc A, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("operators: window: Merge: %w", err)
		}
	}()
	defer flow.Catch(&err)
	acc = h.agg.New()
	for _, w := range all {
		acc = h.agg.Merge(acc, w.panes[0].acc)
	}
	return acc, nil
}

// absorb joins another session to w, except for the aggregate.
func (h *windows[T, K, A, R]) absorb(w, other *open[T, K, A]) {
	p, from := w.panes[0], other.panes[0]
	entries := from.entries
	if held := h.release(from); entries > 0 {
		if p.entries == 0 {
			h.holding.Add(p, empty{})
		}
		p.held = append(p.held, held...)
		p.entries += entries
		h.held += entries
	}
	p.n += from.n
	w.start, w.end = min(w.start, other.start), max(w.end, other.end)
	w.early, w.late = max(w.early, other.early), max(w.late, other.late)
	w.ended = max(w.ended, other.ended)
	h.close(other)
}

func (h *windows[T, K, A, R]) placeInCount(m flow.Message[T], key K, ts int64) (bool, error) {
	w := h.counts[key]
	var p *pane[T, K, A]
	if w != nil {
		p = w.panes[0]
	} else if h.due.Len() >= h.cfg.MaxWindows {
		return false, nil
	}
	acc, err := h.add(p, m.Value)
	if err != nil {
		return false, err
	}
	if w == nil {
		w = h.opened(key, ts, ts)
		p = &pane[T, K, A]{windows: []*open[T, K, A]{w}}
		w.panes = append(w.panes, p)
		h.counts[key] = w
	}
	w.start, w.end = min(w.start, ts), max(w.end, ts)
	h.keep(p, acc, m)
	if p.n >= h.cfg.Windows.N {
		h.fire(w, window.OnTime)
		h.close(w)
	}
	return true, nil
}
