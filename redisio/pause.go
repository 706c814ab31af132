package redisio

import (
	"context"
	"time"
)

// pause is a time without reads, until entries are settled.
type pause struct {
	ids   map[ID]struct{} // nil: all that are held
	over  chan struct{}   // closed when they are settled
	ended bool
	until time.Time // the longest it lasts
}

// pause begins a pause until held entries are settled. nil means all of them.
func (h *heldSet) pause(entries []Entry, until time.Time) {
	p := &pause{over: make(chan struct{}), until: until}
	h.mu.Lock()
	defer h.mu.Unlock()
	if entries != nil {
		p.ids = make(map[ID]struct{}, len(entries))
		for i := range entries {
			if _, held := h.held.get(entries[i].Position); held {
				p.ids[entries[i].Position] = struct{}{}
			}
		}
	}
	p.settled(ID{}, h.held.n)
	h.resting = p
}

// settled notes that an entry is no longer held. held is the number of those that still are.
func (p *pause) settled(id ID, held int) {
	delete(p.ids, id)
	if left := len(p.ids); p.ended || left > 0 || p.ids == nil && held > 0 {
		return
	}
	p.ended = true
	close(p.over)
}

// paused returns the current pause, or nil.
func (h *heldSet) paused() *pause {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.resting
}

// waitOut waits for the end of a pause. The caller must not have the token, which settling may need.
func (h *heldSet) waitOut(ctx context.Context, p *pause, stop <-chan struct{}) error {
	timer := time.NewTimer(time.Until(p.until))
	defer timer.Stop()
	select {
	case <-p.over:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-stop:
		return ErrClosed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.resting == p {
		h.resting = nil
	}
	return nil
}
