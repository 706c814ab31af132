package writer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Stats count what a writer did since it was opened.
type Stats struct {
	Duplicates int64 // entries that were not written, since they were there
	Trimmed    int64 // entries dropped by retention and at the cap
	Lost       int64 // those of them that some group had not read or not settled
}

type writerStats struct{ duplicates, trimmed, lost atomic.Int64 }

// Stats returns the counts so far.
func (w *Writer) Stats() Stats {
	return Stats{w.stats.duplicates.Load(), w.stats.trimmed.Load(), w.stats.lost.Load()}
}

func (w *Writer) emit(e redisio.Event) {
	if w.cfg.OnEvent != nil {
		fault.Notify("writer.Config.OnEvent", func() { w.cfg.OnEvent(e) })
	}
}

// lane is what a writer knows of one stream.
type lane struct {
	mu       sync.Mutex // held for a few lines
	known    bool       // length is
	length   int64
	reserved int64 // entries on their way, below the cap
	since    int   // entries since the last trimming
	trimmed  time.Time
	script   bool               // IDMP can't be used here
	behind   bool               // the last trimming has more to do
	heldBack map[string]stalled // the groups that keep the stream long, by name

	// Of the budget of bytes.
	measured  bool // bytes is what the server said at weighedAt
	bytes     int64
	fresh     int64 // what was written since
	average   int64 // what an entry takes
	weighedAt time.Time
	fullUntil time.Time      // there was no room: nothing is asked until then
	fullBy    *HeldBackError // why
	oom       bool           // the server was out of memory
	relief    time.Time      // when to make room for that again, at the earliest
}

// lanes are bounded, for entries may name any number of keys: who was forgotten is met anew.
type lanes struct {
	mu sync.Mutex
	m  map[string]*lane
}

const maxLanes = 4096

func (ls *lanes) of(key string) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.m[key]
	if l != nil {
		return l
	}
	if ls.m == nil {
		ls.m = make(map[string]*lane)
	}
	if len(ls.m) >= maxLanes {
		for k := range ls.m { // any
			delete(ls.m, k)
			break
		}
	}
	l = new(lane)
	ls.m[key] = l
	return l
}

// part is what a pipeline carries for one key.
type part struct {
	key      string
	lane     *lane
	index    []int      // of the entries
	reserved int64      // places below the cap
	bytes    int64      // what the entries take, roughly, when there is a budget
	once     []onceCall // the scripts that write them
	before   *redis.Cmd // what IDMP needs
	from, to int        // or their XADDs, in chunk.sent
	trim     *redis.Cmd
	cap      int64 // of trim
	budget   int64 // likewise
	more     bool  // trim was not enough
	length   *redis.IntCmd
}

// trip is one pipeline on one connection.
type trip struct {
	via   interface{ Pipeline() redis.Pipeliner }
	parts []*part
}

// sendMore is send for a writer that isn't plain.
func (w *Writer) sendMore(ctx context.Context, c *chunk, entries []redisio.Outgoing, results []redisio.Result) {
	now := time.Now()
	w.Split(c, entries, results)
	for i := range c.parts {
		w.admit(ctx, &c.parts[i], results)
		w.afford(ctx, &c.parts[i], entries, results, now)
	}
	for _, t := range w.trips(ctx, c, results) {
		c.queue = c.queue[:0]
		for _, p := range t.parts {
			w.queue(ctx, c, p, entries, results, now)
		}
		if len(c.queue) == 0 {
			continue
		}
		wait := w.cfg.Durability.queue(ctx, c)
		pipe := t.via.Pipeline()
		_ = pipe.BatchProcess(ctx, c.queue...) // only queues
		_, err := pipe.Exec(ctx)
		for _, p := range t.parts {
			w.Settle(c, p, results, err)
			w.trimOn(ctx, p)
			wait.judge(w.cfg.Durability, p, results)
		}
	}
}

// Split finds what is to go to which key.
func (w *Writer) Split(c *chunk, entries []redisio.Outgoing, results []redisio.Result) {
	var byKey map[string]int
	at := -1
	for i := range entries {
		e := &entries[i]
		err := w.check(e)
		if err == nil && w.cfg.DedupeWindow > 0 {
			err = checkOnce(w.keyOf(e), e)
		}
		if err != nil {
			results[i] = redisio.Result{Err: err}
			continue
		}
		key := w.keyOf(e)
		if at < 0 || c.parts[at].key != key {
			found, ok := byKey[key]
			if !ok {
				if byKey == nil {
					byKey = make(map[string]int)
				}
				found = len(c.parts)
				byKey[key] = found
				c.parts = append(c.parts, part{key: key, lane: w.lanes.of(key)})
			}
			at = found
		}
		c.parts[at].index = append(c.parts[at].index, i)
	}
}

// trips says which connections the parts go by. Who waits for replicas has to do so on the
// connection that wrote, which a cluster client chooses by itself unless it is told.
func (w *Writer) trips(ctx context.Context, c *chunk, results []redisio.Result) []trip {
	trips := make([]trip, 0, 1)
	for i := range c.parts {
		p := &c.parts[i]
		if len(p.index) == 0 {
			continue
		}
		t := trip{via: w.out}
		if w.out.Cluster != nil && w.cfg.Durability.on() {
			node, err := w.out.Cluster.MasterForKey(ctx, p.key)
			if err != nil {
				w.out.Redirected()
				p.fail(results, &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err})
				continue
			}
			t.via = node
		}
		at := 0
		for at < len(trips) && trips[at].via != t.via {
			at++
		}
		if at == len(trips) {
			trips = append(trips, t)
		}
		trips[at].parts = append(trips[at].parts, p)
	}
	return trips
}

func (p *part) fail(results []redisio.Result, err error) {
	for _, i := range p.index {
		results[i] = redisio.Result{Err: err}
	}
	p.release()
	p.index = nil
}

func (p *part) release() {
	p.lane.mu.Lock()
	p.lane.reserved -= p.reserved
	p.lane.mu.Unlock()
	p.reserved = 0
}

// queue adds the commands of one key.
func (w *Writer) queue(
	ctx context.Context,
	c *chunk,
	p *part,
	entries []redisio.Outgoing,
	results []redisio.Result,
	now time.Time,
) {
	p.from = len(c.sent)
	switch {
	case w.cfg.DedupeWindow == 0:
		for _, i := range p.index {
			w.xadd(c, &entries[i], i, "")
		}
	case w.idmp && !p.lane.refusesIDMP():
		w.queueIDMP(ctx, c, p, entries)
	default:
		w.queueOnce(ctx, c, p, entries)
	}
	p.to = len(c.sent)
	w.queueTrim(ctx, c, p, now)
}

// Settle looks at the replies to the commands of one key.
func (w *Writer) Settle(c *chunk, p *part, results []redisio.Result, execErr error) {
	if len(p.index) == 0 {
		return
	}
	reload, full, written := false, false, int64(0)
	note := func(at int, r redisio.Result) {
		if r.Err != nil {
			reload, full = reload ||
				fault.Judge(r.Err) == fault.Moved, full ||
				errors.Is(r.Err, redisio.ErrBackpressure)
		} else if r.Duplicate {
			w.stats.duplicates.Add(1)
		} else {
			written++
		}
		results[at] = r
	}
	var max redisio.ID
	known := p.before != nil && w.settleIDMP(p, &max)
	for i := p.from; i < p.to; i++ {
		id, err := c.sent[i].Result()
		if id == "" && err != nil {
			note(c.index[i], redisio.Result{Err: writeError(err, execErr)})
			continue
		}
		r := redisio.Result{ID: id}
		if known {
			if at, err := redisio.ParseID(id); err == nil && max.Compare(at) >= 0 {
				r.Duplicate = true // new entries get larger ids than all before
			} else if err == nil {
				max = at
			}
		}
		note(c.index[i], r)
	}
	for i := range p.once {
		p.once[i].Settle(execErr, note)
	}
	w.settleTrim(p, written)
	if full {
		p.lane.mu.Lock()
		p.lane.oom = true
		p.lane.mu.Unlock()
	}
	if reload {
		w.out.Redirected()
	}
}
