package held

import (
	"context"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Settle records that a call settles ids, until the returned function is called. It waits while
// entries are restored. Otherwise an ack could arrive between finding an entry missing and restoring
// it, and would be undone.
func (h *Set) Settle(ctx context.Context, ids []string) (done func(), err error) {
	if err := h.lockSettle(ctx); err != nil {
		return nil, err
	}
	defer h.mu.Unlock()
	h.settling[&ids] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.settling, &ids)
		if len(h.settling) == 0 && h.calm != nil {
			close(h.calm)
			h.calm = nil
		}
	}, nil
}

// Quiesce waits until no call settles entries. No other call begins until the returned function is
// called.
func (h *Set) Quiesce(ctx context.Context) (resume func(), err error) {
	if err := h.lockSettle(ctx); err != nil {
		return nil, err
	}
	quiet := make(chan struct{})
	h.quiet = quiet
	resume = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.quiet = nil
		close(quiet)
	}
	for len(h.settling) > 0 {
		if h.calm == nil {
			h.calm = make(chan struct{})
		}
		calm := h.calm
		h.mu.Unlock()
		select {
		case <-calm:
		case <-ctx.Done():
			resume()
			return nil, context.Cause(ctx)
		}
		h.mu.Lock()
	}
	h.mu.Unlock()
	return resume, nil
}

// lockSettle waits until settling is not paused, then locks.
func (h *Set) lockSettle(ctx context.Context) error {
	h.mu.Lock()
	for h.quiet != nil {
		quiet := h.quiet
		h.mu.Unlock()
		select {
		case <-quiet:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		h.mu.Lock()
	}
	return nil
}

// pause is a time without reads, until entries are settled.
type pause struct {
	ids   map[redisio.ID]struct{} // nil: all that are held
	over  chan struct{}           // closed when they are settled
	ended bool
	until time.Time // when it ends at the latest
}

// Pause begins a pause of reading until held entries are settled. nil means all of them.
func (h *Set) Pause(entries []redisio.Entry, until time.Time) {
	p := &pause{over: make(chan struct{}), until: until}
	h.mu.Lock()
	defer h.mu.Unlock()
	if entries != nil {
		p.ids = make(map[redisio.ID]struct{}, len(entries))
		for i := range entries {
			if _, held := h.ledger.get(entries[i].Position); held {
				p.ids[entries[i].Position] = struct{}{}
			}
		}
	}
	p.settled(redisio.ID{}, h.ledger.n)
	h.resting = p
}

// settled records that an entry is no longer held. held is the number of those that still are.
func (p *pause) settled(id redisio.ID, held int) {
	delete(p.ids, id)
	if left := len(p.ids); p.ended || left > 0 || p.ids == nil && held > 0 {
		return
	}
	p.ended = true
	close(p.over)
}

// WaitOut waits for the end of a pause, if there is one. The caller must not have the token, because
// settling may need it.
func (h *Set) WaitOut(ctx context.Context, stop <-chan struct{}) error {
	h.mu.Lock()
	p := h.resting
	h.mu.Unlock()
	if p == nil {
		return nil
	}
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
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.resting == p {
		h.resting = nil
	}
	return nil
}
