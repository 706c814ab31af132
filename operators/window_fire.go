package operators

import (
	"fmt"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators/window"
)

// fireDue fires the windows that have ended, and removes those that accept no more.
func (h *windows[T, K, A, R]) fireDue() {
	for low := h.low(); h.due.Len() > 0 && h.due.First().due <= low; {
		w := h.due.First()
		if w.fired {
			h.close(w)
			continue
		}
		h.fire(w, window.OnTime)
		if h.cfg.Lateness > 0 {
			h.reorder(w)
		} else {
			h.close(w)
		}
	}
}

// fireAll fires all windows in order and removes them.
func (h *windows[T, K, A, R]) fireAll(kind window.Pane) {
	for _, w := range h.inOrder() {
		if !w.fired {
			h.fire(w, kind)
		}
		h.close(w)
	}
}

// fire passes on the result of a window with its entries.
func (h *windows[T, K, A, R]) fire(w *open[T, K, A], kind window.Pane) {
	w.fired = true
	if kind == window.OnTime {
		if w.ended++; w.ended > 1 {
			kind = window.Late
		}
	}
	held := h.scratch[:0]
	for _, p := range w.panes {
		switch {
		case p.entries == 0:
		case p.waits():
			held = append(held, h.share(p))
		default:
			held = append(held, h.release(p)...)
		}
	}
	h.emit(w, kind, held)
	clear(held)
	h.scratch = held
}

// waits reports whether there are windows with the pane that have not fired.
func (p *pane[T, K, A]) waits() bool {
	for _, w := range p.windows {
		if !w.fired {
			return true
		}
	}
	return false
}

// share returns one more hold of all entries of a pane. For this it joins them to one message.
func (h *windows[T, K, A, R]) share(p *pane[T, K, A]) flow.Held[T] {
	if len(p.held) > 1 {
		var none T
		all := flow.Join(h.ctx, none, p.held)
		clear(p.held)
		p.held = append(p.held[:0], flow.Hold(h.ctx, all))
	}
	return flow.Hold(h.ctx, p.held[0].Message)
}

// emit passes on the result of a window. It ends the holds.
func (h *windows[T, K, A, R]) emit(w *open[T, K, A], kind window.Pane, held []flow.Held[T]) {
	r, err := h.result(w, kind)
	switch {
	case err != nil:
		for _, one := range held {
			one.Fail(err)
		}
		if len(held) == 0 {
			flow.Logger(h.ctx).Warn("a window has failed", "stage", flow.StageName(h.ctx), "error", err)
		}
	case len(held) == 0:
		h.results(flow.NewMessage(r, flow.Meta{}))
	default:
		h.results(flow.Join(h.ctx, r, held))
	}
}

// result computes the result of a window.
func (h *windows[T, K, A, R]) result(w *open[T, K, A], kind window.Pane) (r window.Result[K, R], err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("operators: window: Merge or Result: %w", err)
		}
	}()
	defer flow.Catch(&err)
	r = window.Result[K, R]{Key: w.key, Start: time.Unix(0, w.start), End: time.Unix(0, w.end), Pane: kind}
	switch kind {
	case window.Early:
		r.Number = w.early
		w.early++
	case window.Late:
		r.Number = w.late
		w.late++
	}
	w.changed = false
	acc := w.panes[0].acc
	if len(w.panes) > 1 {
		acc = h.agg.New()
	}
	for _, p := range w.panes {
		r.N += p.n
		if len(w.panes) > 1 {
			acc = h.agg.Merge(acc, p.acc)
		}
	}
	r.Value = h.agg.Result(acc)
	return r, nil
}

// fireLate passes on the result of a window that has got a value after it fired.
func (h *windows[T, K, A, R]) fireLate(w *open[T, K, A], m flow.Message[T]) {
	r, err := h.result(w, window.Late)
	if err != nil {
		flow.Hold(h.ctx, m).Fail(err) // not an error of the call, because a retry would count the value twice
		return
	}
	h.results(flow.Derive(m, r))
}

// fireEarly fires previews of the windows that have changed.
func (h *windows[T, K, A, R]) fireEarly() {
	for _, w := range h.inOrder() {
		if w.changed && !w.fired {
			h.emit(w, window.Early, nil)
		}
	}
}

// shed passes on entries while there are as many as allowed: those of the pane that holds the longest, with
// the result so far of its first window.
func (h *windows[T, K, A, R]) shed() {
	for h.held >= max(h.cfg.MaxHeld, 1) && h.holding.Len() > 0 {
		p, _ := h.holding.Oldest()
		for _, w := range p.windows {
			if !w.fired {
				held := append(h.scratch[:0], h.release(p)...)
				h.emit(w, window.Early, held)
				clear(held)
				h.scratch = held
				break
			}
		}
	}
}

// giveBack gives all held entries back, unless one of them cannot go back.
func (h *windows[T, K, A, R]) giveBack() bool {
	var all []flow.Held[T]
	for p := range h.holding.All() {
		all = append(all, p.held...)
	}
	if slices.ContainsFunc(all, func(one flow.Held[T]) bool { return !one.CanGoBack() }) {
		return false
	}
	for _, one := range all {
		one.GiveBack()
	}
	return true
}
