package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// producer writes numbered messages at a steady rate and records the server's reply to each.
type producer struct {
	input  string
	n      int
	rate   int              // messages per second
	poison func(int) string // kind of poison of a message; "": none
	early  func() bool      // reports that a fault was injected too rarely so far

	writing sync.Mutex // held during a write

	mu      sync.Mutex
	rdb     redis.UniversalClient
	acked   []bool      // the server acknowledged it
	tries   []uint16    // upper bound of its copies
	since   []time.Time // time of the first acknowledgement
	written int         // number of acknowledged messages
	entry   []string    // their entry ids
	retries int
}

func newProducer(rdb redis.UniversalClient, input string, n, rate int) *producer {
	return &producer{rdb: rdb, input: input, n: n, rate: rate, poison: func(int) string { return "" },
		early: func() bool { return false },
		acked: make([]bool, n), tries: make([]uint16, n), entry: make([]string, n), since: make([]time.Time, n)}
}

// poisoned selects a share of the messages to be poisoned, by the seed.
func poisoned(seed uint64, share float64) func(int) string {
	return func(id int) string {
		r := rand.New(rand.NewPCG(seed, uint64(id)))
		if r.Float64() >= share {
			return ""
		}
		return poisons[r.IntN(len(poisons))]
	}
}

// Messages are written in bursts, so that workers are sometimes saturated and sometimes idle.
const (
	produceTick = 20 * time.Millisecond
	burst       = 400 * time.Millisecond
)

// produce writes the messages from..to, each until the server acknowledges it. While it is early, the
// last quarter gets slower and slower, and the last one waits, so that a slow machine injects as many
// faults as a fast one.
func (p *producer) produce(ctx context.Context, from, to int) error {
	tick := time.NewTicker(produceTick)
	defer tick.Stop()
	began, first := time.Now(), from
	rest := (to - first) / 4
	var slow, next time.Time
	var todo []int
	for from < to || len(todo) > 0 {
		due := min(to, first+int((time.Since(began)/burst*burst+burst).Seconds()*float64(p.rate)))
		if due > to-rest && p.early() {
			due = max(from, to-rest)
			switch now := time.Now(); {
			case from < to-rest:
			case slow.IsZero():
				slow = now
			case now.Sub(slow) > redistest.Patience: // the faults do not come
				due = to
			case from < to-1 && now.After(next):
				due, next = from+1, now.Add(produceTick*time.Duration(rest)/time.Duration(to-from))
			}
		}
		for ; from < due && len(todo) < 1000; from++ {
			todo = append(todo, from)
		}
		todo = p.write(ctx, todo)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// write writes messages in one pipeline and returns those to retry.
func (p *producer) write(ctx context.Context, ids []int) (again []int) {
	if len(ids) == 0 {
		return nil
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	rdb := p.rdb
	p.mu.Unlock()
	pipe := rdb.Pipeline()
	cmds := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.XAdd(ctx, &redis.XAddArgs{Stream: p.input, Values: []any{"data", payload(id, p.poison(id))}})
	}
	_, err := pipe.Exec(ctx) // each command has its own error
	if c, ok := rdb.(*redis.ClusterClient); ok && err != nil {
		c.ReloadState(ctx) // a pipeline to a dead node does not look for the successor
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, id := range ids {
		p.tries[id]++
		if cmds[i].Err() != nil {
			p.retries++
			again = append(again, id)
			continue
		}
		p.entry[id] = cmds[i].Val()
		if !p.acked[id] {
			p.acked[id], p.since[id] = true, time.Now()
			p.written++
		}
	}
	return again
}

// between calls f while no write is on its way, of which the server may know more than the producer.
func (p *producer) between(f func()) {
	p.writing.Lock()
	defer p.writing.Unlock()
	f()
}

// messages returns the messages of entries.
func (p *producer) messages(entries []string) (ids []int) {
	p.between(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for id, entry := range p.entry {
			if entry != "" && slices.Contains(entries, entry) {
				ids = append(ids, id)
			}
		}
	})
	return ids
}

// republish writes messages again, as a producer does when it learns of a loss.
func (p *producer) republish(ctx context.Context, ids []int) error {
	for len(ids) > 0 {
		n := min(500, len(ids))
		rest := p.write(ctx, ids[:n])
		ids = append(rest, ids[n:]...)
		if len(rest) > 0 {
			if err := sleep(ctx, produceTick); err != nil {
				return fmt.Errorf("republish: %w", err)
			}
		}
	}
	return nil
}

// done returns how many messages the server acknowledged.
func (p *producer) done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written
}

// age returns how long ago a message was written.
func (p *producer) age(id int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.acked[id] {
		return 0
	}
	return time.Since(p.since[id])
}

// copies returns the upper bound of a message's entries, as far as the producer knows.
func (p *producer) copies(id int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.tries[id])
}

// published returns the messages that the server has acknowledged so far.
func (p *producer) published() (ids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, ok := range p.acked {
		if ok {
			ids = append(ids, id)
		}
	}
	return ids
}
