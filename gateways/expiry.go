package gateways

import (
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

const (
	expirySpan  = 10 * time.Second
	expiryFew   = 10 // fewer expired requests in a span are not reported
	expiryQuiet = time.Minute
)

// expiry warns if a service skips many requests because they expired.
type expiry struct {
	mu      sync.Mutex
	began   time.Time // of the span
	expired uint64    // in this span
	handled uint64    // at its beginning
	told    time.Time
}

// tell counts an expired request, and warns if at least half of the requests in the span expired.
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
		Warn("service: many requests expired before handling: add processes or raise timeouts",
			"key", key, "expired", e.expired, "handled", handled-e.handled, "within", now.Sub(e.began))
}
