package writer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// send writes entries: as one pipeline, or as several if they are large.
func (w *Writer) send(ctx context.Context, entries []redisio.Outgoing, results []redisio.Result) {
	c := w.chunkOf(entries, results)
	defer w.release(c)
	if !w.transacts(len(c.index)) {
		w.sendGroup(ctx, c, c.index)
	} else {
		for _, group := range w.bySlot(c, c.index) {
			w.sendGroup(ctx, c, group)
		}
	}
	if w.plain && w.cfg.MaxBytes > 0 {
		w.bound(ctx, c)
	}
	if c.later != nil {
		w.schedule(ctx, c, c.later)
	}
}

// schedule puts entries into the schedules of their streams.
func (w *Writer) schedule(ctx context.Context, c *chunk, index []int) {
	byKey := make(map[string][]int)
	for _, i := range index {
		key := w.keyOf(&c.entries[i])
		byKey[key] = append(byKey[key], i)
	}
	for key, index := range byKey {
		entries, results := make([]schedule.Delayed, len(index)), make([]redisio.Result, len(index))
		for n, i := range index {
			e := &c.entries[i]
			entries[n] = schedule.Delayed{ID: e.DedupeID, At: e.At, Fields: e.Fields}
		}
		to, err := schedule.New(w.rdb, schedule.Config{Key: key, MaxPayload: w.cfg.MaxPayload})
		if err != nil {
			fail(results, redisio.ErrNotWritten, err)
		} else {
			_ = to.Schedule(ctx, entries, results) // the results have the errors
		}
		for n, i := range index {
			c.entries[i].DedupeID, c.results[i] = entries[n].ID, results[n]
		}
	}
}

// sendGroup writes some entries, up to conn.MaxKept bytes at a time.
func (w *Writer) sendGroup(ctx context.Context, c *chunk, index []int) {
	for len(index) > 0 {
		n, size := 0, 0
		for n < len(index) && (n == 0 || size < conn.MaxKept) {
			size += c.entries[index[n]].Fields.Size()
			n++
		}
		if w.plain {
			w.sendPlain(ctx, c, index[:n])
		} else {
			w.sendParts(ctx, c, index[:n])
		}
		index = index[n:]
	}
}

// sendPlain writes entries by XADD alone.
func (w *Writer) sendPlain(ctx context.Context, c *chunk, index []int) {
	if w.together(c, index) {
		w.addTogether(c, index)
	} else {
		for _, at := range index {
			w.xadd(c, at, nil, (*chunk).wrote)
		}
	}
	w.do(ctx, c, nil)
}

// check finds what the server would refuse, or not cope with, before anything is sent.
func (w *Writer) check(e *redisio.Outgoing) error {
	key := w.keyOf(e)
	if key == "" {
		return &fault.OutcomeError{
			Outcome: redisio.ErrNotWritten,
			Cause:   errors.New("neither the entry nor the writer names a key"),
		}
	}
	if err := check.Entry(key, e.Fields, w.cfg.MaxPayload); err != nil {
		return err
	}
	if w.cfg.DedupeWindow > 0 {
		return checkOnce(key, e)
	}
	return nil
}

// lane is what a writer knows about one stream.
type lane struct {
	mu       sync.Mutex // held for a few lines
	known    bool       // length is known
	length   int64
	reserved int64 // entries in flight, below the cap
	since    int   // entries since the last trimming
	trimmed  time.Time
	script   bool               // IDMP can't be used here
	behind   bool               // the last trimming has more to do
	heldBack map[string]stalled // the groups that keep the stream long, by name
	budget   budget
}

// lanes is bounded, because entries may name any number of keys. A stream that was evicted starts
// again with an empty lane.
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
	index    []int // of the entries
	reserved int64 // places below the cap
	bytes    int64 // approximate memory of the entries, if there is a budget
	last     redisio.ID
	known    bool  // last is the last ID before the entries, see IDMP
	written  int64 // entries
	full     bool  // the server was out of memory
	trim     trimming
}

// trip is one pipeline of parts on one connection.
type trip struct {
	via   pipeliner
	parts []*part
}

// sendParts writes entries with everything beyond XADD that the configuration asks for.
func (w *Writer) sendParts(ctx context.Context, c *chunk, index []int) {
	now := time.Now()
	w.split(c, index)
	for i := range c.parts {
		w.admit(ctx, c, &c.parts[i])
		w.afford(ctx, c, &c.parts[i], now)
	}
	for _, t := range w.trips(ctx, c) {
		for _, p := range t.parts {
			w.addPart(c, p, now)
		}
		var q confirmation
		w.cfg.Durability.add(c, &q)
		w.do(ctx, c, t.via)
		for _, p := range t.parts {
			w.settle(p)
			w.trimOn(ctx, c, p)
			q.judge(w.cfg.Durability, p, c.results)
		}
	}
	clear(c.parts)
	c.parts = c.parts[:0]
}

// split makes a part for each key.
func (w *Writer) split(c *chunk, index []int) {
	var byKey map[string]int
	at := -1
	for _, i := range index {
		key := w.keyOf(&c.entries[i])
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

// trips decides which parts share a pipeline. WAIT must be sent on the connection that wrote, so in
// a cluster each node has a pipeline of its own then.
func (w *Writer) trips(ctx context.Context, c *chunk) []trip {
	trips := make([]trip, 0, 1)
	for i := range c.parts {
		p := &c.parts[i]
		if len(p.index) == 0 {
			continue
		}
		var t trip
		if w.out.Cluster != nil && w.cfg.Durability.on() {
			node, err := w.out.Cluster.MasterForKey(ctx, p.key)
			if err != nil {
				w.out.Redirected()
				p.fail(c.results, &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err})
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
	p.index = nil
	p.lane.mu.Lock()
	p.lane.reserved -= p.reserved
	p.lane.mu.Unlock()
	p.reserved = 0
}

// addPart adds the commands of one key.
func (w *Writer) addPart(c *chunk, p *part, now time.Time) {
	switch {
	case w.cfg.DedupeWindow == 0:
		wrote := p.wrote(w)
		for _, i := range p.index {
			w.xadd(c, i, nil, wrote)
		}
	case w.idmp && !p.lane.refusesIDMP():
		w.addIDMP(c, p)
	default:
		w.addOnce(c, p)
	}
	w.addTrim(c, p, now)
}

// wrote returns the function that reads the reply to an XADD of the part.
func (p *part) wrote(w *Writer) func(*chunk, int) {
	return func(c *chunk, at int) {
		res := c.replies.result()
		if id, err := redisio.ParseID(res.ID); p.known && res.Err == nil && err == nil {
			if res.Duplicate = p.last.Compare(id) >= 0; !res.Duplicate { // new IDs are larger than all before
				p.last = id
			}
		}
		p.note(w, c, at, res)
	}
}

// note sets the result of an entry of the part.
func (p *part) note(w *Writer, c *chunk, at int, res redisio.Result) {
	switch {
	case res.Err != nil:
		p.full = p.full || errors.Is(res.Err, redisio.ErrBackpressure)
	case res.Duplicate:
		w.duplicates.Add(1)
	default:
		p.written++
	}
	c.results[at] = res
}

// settle records what the replies say about the stream.
func (w *Writer) settle(p *part) {
	w.settleTrim(p)
	if p.full {
		p.lane.mu.Lock()
		p.lane.budget.oom = true
		p.lane.mu.Unlock()
	}
}
