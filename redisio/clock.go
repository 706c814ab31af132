package redisio

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Clock knows how far the clock of this process is ahead of Redis's, by which entries get their
// IDs. It is safe for concurrent use; the zero value knows nothing yet.
//
// Idea: what Redis said a moment ago is older by the way that it took. So each sample is too large
// by that much, and the smallest of lately is the best. Samples are forgotten after a while,
// because clocks are set.
type Clock struct {
	mu    sync.Mutex
	least [2]time.Duration // of this span of time, and of the one before
	known [2]bool
	began time.Time
}

// clockSpan is for how long a sample counts, at least.
const clockSpan = 30 * time.Second

// Saw takes a time of Redis's clock that has come just now.
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

// Ask asks the server what time it is.
func (c *Clock) Ask(ctx context.Context, rdb redis.Cmdable) error {
	at, err := rdb.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("redisio: ask for the time: %w", err)
	}
	c.Saw(at, time.Now())
	return nil
}

// Ahead is how far this process's clock is ahead of Redis's; negative if it is behind, 0 if nothing is known.
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
