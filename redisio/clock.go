package redisio

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Clock measures how far the clock of this process is ahead of the Redis clock, which sets the
// entry IDs. It is safe for concurrent use. The zero value has no samples.
//
// Idea: a time read from Redis is stale by the network delay. Each sample is therefore too large by
// the delay, and the smallest recent sample is the best one. Samples expire, because clocks are
// set.
type Clock struct {
	mu    sync.Mutex
	least [2]time.Duration // smallest sample of the current span and of the previous one
	known [2]bool
	began time.Time
}

// clockSpan is the shortest time for which a sample is valid.
const clockSpan = 30 * time.Second

// Saw records a time of the Redis clock that was received at now.
func (c *Clock) Saw(redis, now time.Time) {
	ahead := now.Sub(redis)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch gone := now.Sub(c.began); {
	case gone < 0 || gone >= 2*clockSpan:
		c.known, c.began = [2]bool{}, now
	case gone >= clockSpan:
		c.least[1], c.known[1] = c.least[0], c.known[0]
		c.known[0], c.began = false, now
	}
	if !c.known[0] || ahead < c.least[0] {
		c.least[0], c.known[0] = ahead, true
	}
}

// Ask asks the server for its time and records it.
func (c *Clock) Ask(ctx context.Context, rdb redis.Cmdable) error {
	at, err := rdb.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("redisio: ask for the server's time: %w", err)
	}
	c.Saw(at, time.Now())
	return nil
}

// Ahead returns how far the clock of this process is ahead of the Redis clock. It is negative if
// the clock is behind, and 0 without samples.
func (c *Clock) Ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.known[0] && c.known[1]:
		return min(c.least[0], c.least[1])
	case c.known[0]:
		return c.least[0]
	case c.known[1]:
		return c.least[1]
	}
	return 0
}
