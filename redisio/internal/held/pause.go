package held

import (
	"context"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// pause is a time without reads, until entries are settled.
type pause struct {
	ids   map[redisio.ID]struct{} // nil: all that are held
	over  chan struct{}           // closed when they are settled
	ended bool
	until time.Time // the longest it lasts
}

// Pause begins a pause until held entries are settled. nil means all of them.
func (h *Set) Pause(entries []redisio.Entry, until time.Time) {
	p := &pause{over: make(chan struct{}), until: until}
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if entries != nil {
		p.ids = make(map[redisio.ID]struct{}, len(entries))
		for i := range entries {
			if _, held := h.Held.get(entries[i].Position); held {
				p.ids[entries[i].Position] = struct{}{}
			}
		}
	}
	p.Settled(redisio.ID{}, h.Held.n)
	h.resting = p
}

// Settled notes that an entry is no longer held. held is the number of those that still are.
func (p *pause) Settled(id redisio.ID, held int) {
	delete(p.ids, id)
	if left := len(p.ids); p.ended || left > 0 || p.ids == nil && held > 0 {
		return
	}
	p.ended = true
	close(p.over)
}

// Paused returns the current pause, or nil.
func (h *Set) Paused() *pause {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	return h.resting
}

// WaitOut waits for the end of a pause. The caller must not have the token, which settling may need.
func (h *Set) WaitOut(ctx context.Context, p *pause, stop <-chan struct{}) error {
	timer := time.NewTimer(time.Until(p.until))
	defer timer.Stop()
	select {
	case <-p.over:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-stop:
		return redisio.ErrClosed
	}
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if h.resting == p {
		h.resting = nil
	}
	return nil
}
