package gateways

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// crowd observes how many requests wait in the stream, and whether any service exists.
//
// Idea: settled requests are deleted, so the length of the stream is the number of requests that
// wait or are being handled. A client checks it ten times a second while it sends, and once a
// second while many wait. It remembers the entries of calls that were given up. While no service
// exists it deletes them itself, because nothing else would. Services skip them.
type crowd struct {
	rdb   redis.UniversalClient
	key   string
	most  int64 // requests
	bytes int64
	own   bool // settled requests are deleted
	// aliveFor is how long a consumer may be idle until its process is considered dead.
	aliveFor time.Duration

	seen  atomic.Pointer[crowdSight]
	alone atomic.Int64 // since when no service exists, in Unix nanoseconds; 0: one exists, or it is unknown

	probed atomic.Int64 // when a probe was let through, in Unix nanoseconds

	mu   sync.Mutex
	gone []string // entries of calls that were given up

	// Owned by look.
	sent   uint64
	looked time.Time
	served time.Time // when a process of a service was last seen
}

type crowdSight struct {
	length, bytes int64
	sent          uint64 // by this client, at that time
}

const (
	crowdGone = 4096 // entries that are remembered
	// aloneAfter is how long no service must exist before calls are refused: one may be restarting.
	aloneAfter = 2 * time.Second
)

// admit refuses a request if the stream is full or no service exists. sent is how many requests
// this client has sent.
func (c *crowd) admit(sent uint64, answered bool) error {
	if answered && c.nobody() && !c.probes() {
		return c.noService()
	}
	s := c.seen.Load()
	if s == nil || !c.own {
		return nil
	}
	switch n := s.length + int64(sent-s.sent); {
	case n >= c.most:
		return fmt.Errorf("%w: %d requests wait in %q, the limit", ErrOverloaded, n, c.key)
	case s.bytes >= c.bytes:
		return fmt.Errorf(
			"%w: requests of %d bytes wait in %q, the limit",
			ErrOverloaded,
			s.bytes,
			c.key,
		)
	}
	return nil
}

func (c *crowd) noService() error {
	return fmt.Errorf("%w: start one for %q, or check the topic", ErrNoService, c.key)
}

// probes lets one call through per second, because Redis may know of another kind of reader only
// after it has read something.
func (c *crowd) probes() bool {
	last, now := c.probed.Load(), time.Now().UnixNano()
	return now-last >= int64(time.Second) && c.probed.CompareAndSwap(last, now)
}

// nobody reports that no service has existed for a while.
func (c *crowd) nobody() bool {
	since := c.alone.Load()
	return since != 0 && time.Since(time.Unix(0, since)) >= aloneAfter
}

// Leave records the entry of a call that was given up.
func (c *crowd) Leave(id string) {
	if id == "" || !c.own {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.gone) < crowdGone {
		c.gone = append(c.gone, strings.Clone(id))
	}
}

// look queries Redis if it is time to. sent is how many requests this client has sent.
func (c *crowd) look(ctx context.Context, now time.Time, sent uint64, busy bool) error {
	c.mu.Lock()
	left := len(c.gone) > 0
	c.mu.Unlock()
	seen := c.seen.Load()
	idle := !busy && !left && c.alone.Load() == 0 && seen != nil && seen.length == 0
	if sent == c.sent && (idle || now.Sub(c.looked) < time.Second) {
		return nil
	}
	c.looked, c.sent = now, sent
	pipe := c.rdb.Pipeline()
	groups, length, bytes := pipe.XInfoGroups(ctx, c.key), pipe.XLen(ctx, c.key), pipe.MemoryUsage(ctx, c.key)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := length.Err(); err != nil {
		return err
	}
	// Without permission for MEMORY USAGE only the number counts.
	c.seen.Store(&crowdSight{length.Val(), bytes.Val(), sent})
	alone := false
	if groups.Err() == nil || length.Val() == 0 { // without a stream there is no group either
		alone = c.own && !c.attended(ctx, now, groups.Val())
	}
	if !alone {
		c.alone.Store(0)
		c.mu.Lock()
		c.gone = nil // services skip them
		c.mu.Unlock()
		return nil
	}
	c.alone.CompareAndSwap(0, now.UnixNano())
	return c.remove(ctx)
}

// attended reports whether a process reads in one of the groups. The consumer of a killed process
// stays for an hour, but its idle time keeps growing. While processes exist, consumers are checked
// once a second.
func (c *crowd) attended(ctx context.Context, now time.Time, groups []redis.XInfoGroup) bool {
	if now.Sub(c.served) < time.Second && slices.ContainsFunc(groups, hasConsumers) {
		return true
	}
	pipe := c.rdb.Pipeline()
	var all []*redis.XInfoConsumersCmd
	for _, g := range groups {
		if hasConsumers(g) {
			all = append(all, pipe.XInfoConsumers(ctx, c.key, g.Name))
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for _, consumers := range all {
		// Without permission, assume a process.
		if consumers.Err() != nil || slices.ContainsFunc(consumers.Val(), c.lives) {
			c.served = now
			return true
		}
	}
	return false
}

func hasConsumers(g redis.XInfoGroup) bool { return g.Consumers > 0 }

// lives reports whether a consumer belongs to a process and was active recently.
func (c *crowd) lives(is redis.XInfoConsumer) bool {
	return is.Name != redisio.ReleasedConsumer && is.Name != redisio.SuspectsConsumer && is.Idle < c.aliveFor
}

// remove deletes the entries of calls that were given up, while no service exists.
func (c *crowd) remove(ctx context.Context) error {
	c.mu.Lock()
	gone := c.gone
	c.gone = nil
	c.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	return c.rdb.XDel(ctx, c.key, gone...).Err()
}
