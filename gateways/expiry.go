package gateways

import (
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

const (
	expirySpan  = 10 * time.Second
	expiryFew   = 10 // expired requests in a span are too few to tell
	expiryQuiet = time.Minute
)

// expiry tells of services that skip many requests because their time is over.
type expiry struct {
	mu      sync.Mutex
	began   time.Time // of the span
	expired uint64    // since then
	handled uint64    // by then
	told    time.Time
}

// tell counts a request that has expired, and warns when half of all do. It is called for such requests only.
func (e *expiry) tell(ctx context.Context, stats *serviceCounters, key string) {
	now, handled := time.Now(), stats.answered.Load()+stats.failed.Load()
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.began) >= expirySpan {
		e.began, e.expired, e.handled = now, 0, handled
	}
	e.expired++
	if e.expired < expiryFew || e.expired < handled-e.handled || now.Sub(e.told) < expiryQuiet {
		return
	}
	e.told = now
	flow.Logger(ctx).
		Warn("service: many requests were over before they were begun: add processes, or give calls more time",
			"key", key, "expired", e.expired, "handled", handled-e.handled, "within", now.Sub(e.began))
}
