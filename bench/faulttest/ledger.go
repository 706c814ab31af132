package faulttest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// scan reads a stream from a position on, calls each for every message, and returns the new
// position. An entry without an id is an error, because only the harness and its workers write
// here.
func scan(
	ctx context.Context,
	rdb redis.UniversalClient,
	key, from string,
	each func(id int, e *redis.XMessage),
) (string, error) {
	const page = 1000
	for {
		start := "-"
		if from != "" {
			start = "(" + from
		}
		entries, err := rdb.XRangeN(ctx, key, start, "+", page).Result()
		if err != nil {
			return from, fmt.Errorf("read %q: %w", key, err)
		}
		for i := range entries {
			data, _ := entries[i].Values["data"].(string)
			id, err := idOf(data)
			if err != nil {
				return from, fmt.Errorf("read %q: entry %s: %w", key, entries[i].ID, err)
			}
			each(id, &entries[i])
			from = entries[i].ID
		}
		if len(entries) < page {
			return from, nil
		}
	}
}

// progress follows the output and the dead letters while the trial runs, and measures stalls.
type progress struct {
	out, dead position
	produced  func() int
	age       func(id int) time.Duration
	remains   func(came, produced int) bool // reports whether work remains

	mu       sync.Mutex
	seen     []uint16 // how often each id was seen, in the output or the dead letters
	distinct int
	total    int
	since    time.Time // time of the last progress, or since when there is no work
	longest  time.Duration
	slowest  time.Duration // longest time from a message's write to its output
}

// position is how far a stream has been read.
type position struct {
	rdb     redis.UniversalClient
	key, at string
}

const pollEvery = 25 * time.Millisecond

// follow polls until ctx ends.
func (p *progress) follow(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.poll(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// poll reads new entries. A server that does not answer makes no progress.
func (p *progress) poll(ctx context.Context) {
	due := p.produced() // read before the results are
	p.mu.Lock()
	out, dead := p.out, p.dead
	p.mu.Unlock()
	count := func(id int, _ *redis.XMessage) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.total++; id >= 0 && id < len(p.seen) {
			if p.seen[id]++; p.seen[id] == 1 {
				p.distinct++
				p.slowest = max(p.slowest, p.age(id))
			}
		}
	}
	before := p.count()
	out.at, _ = scan(ctx, out.rdb, out.key, out.at, count)     // the server may be down as part of the trial
	dead.at, _ = scan(ctx, dead.rdb, dead.key, dead.at, count) // judge reads both again
	work := p.count() == before && p.remains(p.came(), due)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out, p.dead = out, dead
	now := time.Now()
	if gap := now.Sub(p.since); work {
		p.longest = max(p.longest, gap)
		return
	}
	p.since = now
}

func (p *progress) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// came returns how many different messages have been seen.
func (p *progress) came() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.distinct
}

// missing returns the published messages that have not been seen yet.
func (p *progress) missing(published []int) (ids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range published {
		if p.seen[id] == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// restart resets the stall timer, because the workers are about to start.
func (p *progress) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
}

func (p *progress) stall() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.longest
}

// ledger is the final content of the streams.
type ledger struct {
	in, out, dead []uint16 // copies of each id
	order         int      // first outputs that follow an output of their key that is later in the input
	letters       []deadLetter
}

type deadLetter struct {
	id     int
	values map[string]any
}

// readLedger reads all streams, with the number of copies of each id.
func readLedger(ctx context.Context, t *trial) (*ledger, error) {
	l := &ledger{in: make([]uint16, t.n), out: make([]uint16, t.n), dead: make([]uint16, t.n)}
	rank, next := make([]int, t.n), 0 // the producer's retries may put a message behind a later one
	_, err := scan(ctx, t.in, t.job.Input, "", func(id int, _ *redis.XMessage) {
		if l.in[id]++; l.in[id] == 1 {
			next++
			rank[id] = next
		}
	})
	if err != nil {
		return nil, err
	}
	var highest [keys]int
	_, err = scan(ctx, t.out, t.job.Output, "", func(id int, _ *redis.XMessage) {
		if l.out[id]++; l.out[id] == 1 {
			key := keyOf(id)
			if rank[id] < highest[key] {
				l.order++
			}
			highest[key] = max(highest[key], rank[id])
		}
	})
	if err != nil {
		return nil, err
	}
	_, err = scan(ctx, t.in, t.dead(), "", func(id int, e *redis.XMessage) {
		l.dead[id]++
		l.letters = append(l.letters, deadLetter{id, e.Values})
	})
	return l, err
}

func (p *progress) timesSeen(id int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.seen[id])
}
