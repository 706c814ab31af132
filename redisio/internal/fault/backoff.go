package fault

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	FirstBackoff = 20 * time.Millisecond
	MaxBackoff   = 5 * time.Second
)

// Backoff returns the wait before try n (1, 2, …): between a half and the whole of a time that doubles
// from 20 ms to 5 s. The jitter keeps many readers from retrying a restarted server at the same moment.
func Backoff(n int) time.Duration {
	b := backoff.ExponentialBackOff{InitialInterval: FirstBackoff * 3 / 4, RandomizationFactor: 1.0 / 3, Multiplier: 2,
		MaxInterval: MaxBackoff * 3 / 4}
	for range min(n, 10) - 1 {
		b.NextBackOff()
	}
	return b.NextBackOff()
}

// Sleep waits for d, or until ctx or stop ends. It returns true if the whole time passed.
func Sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-stop:
	}
	return false
}
