package fault

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	FirstBackoff = 20 * time.Millisecond
	MaxBackoff   = 5 * time.Second
)

// Backoff returns the wait before try n (1, 2, …). It doubles from 20 ms to 5 s. Jitter keeps many
// readers from retrying a restarted server at the same moment.
func Backoff(n int) time.Duration {
	d := MaxBackoff
	if n < 9 {
		d = FirstBackoff << max(n-1, 0)
	}
	d = min(d, MaxBackoff)
	return d/2 + rand.N(d/2+1)
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
