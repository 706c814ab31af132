// Package wait has the waits and delays of the gateways.
package wait

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// For waits for d. It returns false if the context ends first.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Backoff returns growing delays between attempts: each is twice the one before, from first to
// last. A random deviation of up to half spreads the retries of callers that failed together.
func Backoff(first, last time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     first,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         last,
	}
}
