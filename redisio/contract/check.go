package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// check is one run of a rule. Its methods end the rule by a panic that [Rule.Check] recovers. So
// rules need no testing.T, and a broken rule can be the expected outcome.
type check struct {
	ctx    context.Context
	rdb    redis.UniversalClient
	prefix string

	patience time.Duration // how long to wait for an expected state

	keys    []string
	cleanup []func()
}

type (
	broken  struct{ err error }
	lacking string
)

// failf ends the rule as broken, and names the line of the rule.
func (c *check) failf(format string, args ...any) {
	for n := 1; ; n++ {
		_, file, line, ok := runtime.Caller(n)
		if file = path.Base(file); !ok || file != "check.go" {
			panic(broken{fmt.Errorf("%s:%d: %w", file, line, fmt.Errorf(format, args...))})
		}
	}
}

func (c *check) must(err error) {
	if err != nil {
		c.failf("%w", err)
	}
}

// lacks ends the rule, because the server lacks an optional command.
func (c *check) lacks(command string) { panic(lacking(command)) }

// end closes what the rule opened and deletes its keys.
func (c *check) end() {
	for i := len(c.cleanup) - 1; i >= 0; i-- {
		c.cleanup[i]()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, key := range c.keys { // they may be in different slots
		_ = c.rdb.Del(ctx, key).Err() // random names: keys left behind do no harm
	}
}

// key returns a key that only this rule uses. All are in one slot.
func (c *check) key(name string) string {
	key := c.prefix + ":" + name
	c.keys = append(c.keys, key)
	return key
}

// add writes n entries with a field n=0, n=1, …, and returns their IDs.
func (c *check) add(key string, n int) []string {
	pipe := c.rdb.Pipeline()
	cmds := make([]*redis.StringCmd, n)
	for i := range cmds {
		cmds[i] = pipe.XAdd(c.ctx, &redis.XAddArgs{Stream: key, Values: []string{"n", strconv.Itoa(i)}})
	}
	_, err := pipe.Exec(c.ctx)
	c.must(err)
	ids := make([]string, n)
	for i := range cmds {
		ids[i] = cmds[i].Val()
	}
	return ids
}

// takenBy lets another consumer read entries without settling them. It creates the group if it is
// missing.
func (c *check) takenBy(key, consumer string, n int) []string {
	if err := c.rdb.XGroupCreateMkStream(c.ctx, key, "g", "0").Err(); err != nil &&
		!fault.GroupExists(err) {
		c.must(err)
	}
	got, err := c.rdb.XReadGroup(c.ctx, &redis.XReadGroupArgs{Group: "g", Consumer: consumer, Streams: []string{key,
		">"}, Count: int64(n)}).
		Result()
	c.must(err)
	var ids []string
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// watched is a group's reader that records its events.
type watched struct {
	*reader.Group
	mu     sync.Mutex
	events map[redisio.EventKind]int
	lost   []string
}

// group opens a reader of group g, with short waits by default.
func (c *check) group(rdb redis.UniversalClient, cfg reader.GroupConfig) *watched {
	r := &watched{events: make(map[redisio.EventKind]int)}
	cfg.Group = "g"
	if cfg.Block == 0 {
		cfg.Block = 50 * time.Millisecond
	}
	cfg.Wait = c.patience
	cfg.OnEvent = func(e redisio.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events[e.Kind] += max(1, e.Count)
	}
	cfg.OnLost = func(ids []string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lost = append(r.lost, ids...)
	}
	var err error
	r.Group, err = reader.NewGroup(rdb, cfg)
	c.must(err)
	c.must(r.Open(c.ctx))
	c.cleanup = append(c.cleanup, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.Close(ctx) // the rule may have closed it, or deleted its group
	})
	return r
}

// saw returns how often an event occurred.
func (r *watched) saw(k redisio.EventKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[k]
}

func (r *watched) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lost...)
}

// batches is implemented by all readers.
type batches interface {
	Read(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error
}

// read reads until n entries have arrived.
func (c *check) read(r batches, n int) []redisio.Entry {
	ctx, cancel := context.WithTimeout(c.ctx, c.patience)
	defer cancel()
	var out []redisio.Entry
	for len(out) < n {
		var b redisio.Batch
		if err := r.Read(ctx, n-len(out), 0, &b); err != nil {
			c.failf("read: %v, after %d of %d entries", err, len(out), n)
		}
		out = append(out, b.Entries...)
	}
	return out
}

// same ends the rule unless got is want.
func (c *check) same(got, want []string) {
	if !slices.Equal(got, want) {
		c.failf("got %v, want %v", got, want)
	}
}

// has ends the rule unless a stream has n entries.
func (c *check) has(key string, n int) {
	if got := len(c.all(key)); got != n {
		c.failf("%d entries, want %d", got, n)
	}
}

// acks acks ids, and ends the rule unless n of them were pending.
func (c *check) acks(r *watched, ids []string, n int) {
	if got, err := r.Ack(c.ctx, ids); got != n || err != nil {
		c.failf("acked %d of %d, %v", got, n, err)
	}
}

// leased returns a configuration with a lease that does not lapse during the rule.
func leased(key string) reader.GroupConfig {
	return reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: time.Minute}}
}

// acked acks entries, which must be pending for r.
func (c *check) acked(r *watched, entries []redisio.Entry) {
	c.acks(r, ids(entries), len(entries))
}

// nothing reads for d and fails if an entry arrives.
func (c *check) nothing(r batches, d time.Duration) {
	ctx, cancel := context.WithTimeout(c.ctx, d)
	defer cancel()
	var b redisio.Batch
	if err := r.Read(ctx, 10, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
		c.failf("read: %v with %v, want nothing to come", err, ids(b.Entries))
	}
}

// all reads a whole stream.
func (c *check) all(key string) []redisio.Entry {
	r, err := reader.NewRange(c.rdb, reader.RangeConfig{Key: key})
	c.must(err)
	c.must(r.Open(c.ctx))
	var out []redisio.Entry
	for {
		var b redisio.Batch
		if err := r.Read(c.ctx, 1000, 0, &b); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			c.must(err)
		}
		out = append(out, b.Entries...)
	}
}

// until polls.
func (c *check) until(what string, ok func() bool) {
	deadline := time.NewTimer(c.patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			c.failf("never happened: %s", what)
		}
	}
}

// pending returns the group's pending entries by ID.
func (c *check) pending(key string) map[string]redis.XPendingExt {
	list, err := c.rdb.XPendingExt(c.ctx, &redis.XPendingExtArgs{Stream: key, Group: "g", Start: "-", End: "+",
		Count: 10_000}).
		Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		c.must(err)
	}
	m := make(map[string]redis.XPendingExt)
	for _, p := range list {
		m[p.ID] = p
	}
	return m
}

// settled fails if anything is pending.
func (c *check) settled(key string) {
	if p := c.pending(key); len(p) != 0 {
		c.failf("%d are still pending", len(p))
	}
}

func ids(entries []redisio.Entry) []string {
	out := make([]string, len(entries))
	for i := range entries {
		out[i] = entries[i].ID
	}
	return out
}

func field(name, value string) redisio.Field { return redisio.Field{Name: name, Value: []byte(value)} }
