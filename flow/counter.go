package flow

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
)

// Counter is a Reader or Writer that counts what only it knows, such as reconnects. It must be a
// pointer. StageSnapshot.Counts has the sums of all lives and workers of a stage.
type Counter interface {
	// Counts calls add with each of its counts. The names are fixed and few, in snake case, such as
	// "late_acks". A count never goes down. Counts does no I/O. It may be called at any time after
	// Open, by any goroutine.
	Counts(add func(name string, n uint64))
}

// counters are the Counters of a stage.
type counters struct {
	mu    sync.Mutex
	alive []Counter
	ended map[string]uint64 // the sums of those that have ended
}

// begin adds an endpoint that has been opened, if it is a Counter.
func (c *counters) begin(endpoint any) {
	if one := counterOf(endpoint); one != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.alive = append(c.alive, one)
	}
}

// counterOf returns the Counter that an endpoint is, or nil.
func counterOf(endpoint any) Counter {
	if one, ok := endpoint.(Counter); ok && reflect.ValueOf(endpoint).Comparable() {
		return one
	}
	return nil
}

// end keeps the counts of an endpoint that has been closed.
func (c *counters) end(endpoint any) {
	one := counterOf(endpoint)
	if one == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Index(c.alive, one)
	if at < 0 {
		return // it was not opened
	}
	c.alive = slices.Delete(c.alive, at, at+1)
	if c.ended == nil {
		c.ended = make(map[string]uint64)
	}
	addCounts(c.ended, one)
}

// sum returns the counts of all endpoints; nil without an endpoint that counts.
func (c *counters) sum() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.alive) == 0 && c.ended == nil {
		return nil
	}
	all := make(map[string]uint64)
	maps.Copy(all, c.ended)
	for _, one := range c.alive {
		addCounts(all, one)
	}
	return all
}

// addCounts adds the counts of a Counter. A panic of it leaves the rest out.
func addCounts(to map[string]uint64, of Counter) {
	_ = guard(context.Background(), func(context.Context) error {
		of.Counts(func(name string, n uint64) { to[name] += n })
		return nil
	})
}
