package gateways

import (
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
)

// handling is a request that is being handled. It is the context of its handler.
//
// Idea: most handlers return before anything uses their context's Done channel. So channels and
// timers are created only on demand: by Done, which all waiters call, or by the caller of cancel.
type handling struct {
	parent  context.Context // of the stage
	until   time.Time       // zero: no deadline
	credits credits         // of a streamed reply; else nil
	began   time.Time       // when the service took the request
	headers flow.Headers    // of the request
	request Request         // as the handler gets it

	mu   sync.Mutex
	real context.Context // nil until it is needed
	stop [2]func()       // release what real uses
	why  error           // the cause of the cancellation; nil if it was not cancelled
	over bool            // the handler has returned
}

// newHandling starts a handling that ends with its parent, and at until unless that is zero.
func newHandling(parent context.Context, until time.Time) *handling {
	return &handling{parent: parent, until: until}
}

func (h *handling) Deadline() (time.Time, bool) {
	until, has := h.parent.Deadline()
	if has && (h.until.IsZero() || until.Before(h.until)) {
		return until, true
	}
	return h.until, !h.until.IsZero()
}

func (h *handling) Done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.make().Done()
}

func (h *handling) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.real != nil:
		return h.real.Err()
	case h.over:
		return context.Canceled
	case expired(h.until):
		return context.DeadlineExceeded
	}
	return h.parent.Err()
}

func (h *handling) Value(key any) any {
	if key == (plan.PassKey{}) {
		return h.headers
	}
	h.mu.Lock()
	ctx := h.real
	h.mu.Unlock()
	if ctx == nil {
		ctx = h.parent
	}
	return ctx.Value(key)
}

// make creates the context with the state it would have by now. h.mu is held.
func (h *handling) make() context.Context {
	if h.real != nil {
		return h.real
	}
	ctx, cancel := context.WithCancelCause(h.parent)
	h.real, h.stop = ctx, [2]func(){func() { cancel(h.why) }, func() {}}
	if !h.until.IsZero() {
		h.real, h.stop[1] = context.WithDeadline(ctx, h.until)
	}
	if h.over {
		h.halt()
	}
	return h.real
}

func (h *handling) halt() {
	h.stop[0]()
	h.stop[1]()
}

// cancel ends the context with a cause.
func (h *handling) cancel(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.why == nil && !h.over {
		h.why = cause
		h.make()
		h.halt()
	}
}

// end ends the context after the handler has returned. It returns the cause of an earlier
// cancellation, or nil.
func (h *handling) end() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.real != nil {
		h.halt()
	}
	return h.why
}
