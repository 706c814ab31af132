package redisio

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstBackoff = 20 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// backoff is the wait before try n (1, 2, …): doubling from 20 ms to 5 s, with jitter so that many
// readers of a server that comes back don't ask in one moment.
func backoff(n int) time.Duration {
	d := maxBackoff
	if n < 9 {
		d = firstBackoff << max(n-1, 0)
	}
	d = min(d, maxBackoff)
	return d/2 + rand.N(d/2+1)
}

// sleep waits for d, or until ctx or stop ends. It reports whether the whole time passed.
func sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
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
