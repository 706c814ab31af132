package held

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/streamerson/streamerson-go/redisio"
)

// State is where an entry is that a reader has pending. The zero value is an entry that the reader
// does not have.
type State uint8

const (
	Handed   State = iota + 1 // Read returned it, and it is not settled
	Delayed                   // nacked or released: this reader takes it when it is due
	Suspect                   // moved to the suspects; remembered in case the pending list is lost
	Doubtful                  // was due and is pending for no consumer; Delayed again if the pending list was lost
)

func (s State) waits() bool { return s >= Delayed }

// Event is what happens to entries, see [Set.Move].
type Event uint8

const (
	Settled   Event = iota + 1 // the server has confirmed an ack or a dead letter
	TakenOver                  // another consumer has the entry
	Finished                   // the work on an entry that was taken over has ended
	Absent                     // a delayed entry is settled, or another reader has it
	Doubted                    // a delayed entry is pending for no consumer, for an unknown reason
)

// Set is what a reader knows of its own pending entries. All entries in it are pending for this
// consumer on the server, or were. Its lock guards a few operations on memory and is never held
// during I/O.
//
//	event      from                        to
//	Add        any but Handed              Handed, not lost
//	Settled    Handed                      -
//	TakenOver  Handed, no call settles it  -, lost
//	Finished   lost                        not lost
//	Delay      any                         Delayed or Suspect
//	Due        Delayed, Suspect            -, until Add or PutBack
//	PutBack    -                           Delayed
//	Absent     Delayed, Suspect, Doubtful  -
//	Doubted    Delayed                     Doubtful
//
// Lost means that another consumer took the entry over and that the settlement of the old delivery is
// still to come. It must not settle the new delivery. An entry can be lost and wait at the same time,
// because it may return to this reader.
//
// The ledger has the entries in state Handed and the ages of their leases. Most entries are only
// there. records has all others, and those delivered more than once.
type Set struct {
	mu      sync.Mutex
	ledger  Ledger
	records map[redisio.ID]Record
	waiting int      // records in a state that waits
	lost    int      // records that are lost
	queue   dueQueue // when the waiting ones are due
	floor   int64    // no lease of a held entry was renewed before
	cut     int64    // when a connection broke last, or 0: the server may be another since

	// settling has the lists of IDs in calls that settle. Entries that the server has settled, while
	// its answer is on the way, are not lost.
	settling map[*[]string]struct{}
	gate     *semaphore.Weighted // Settle acquires 1, Quiesce all

	resting *pause // what reading waits for, or nil
}

// Record is what is remembered of one entry. Times are in ticks.
type Record struct {
	State    State
	Lost     bool
	Released bool  // for other readers
	Offered  bool  // … because it failed here
	N        int64 // deliveries
	Undo     int64 // number of a delivery that does not count, because the entry was not worked on; 0: all count
	Due      int64 // when this reader takes the entry again
	Until    int64 // when any reader may take it; until then its absence means that the pending list was lost
	Open     int64 // when any reader can take it by its idle time on the server: Until, or after a lease
}

// Leases are timed by the monotonic clock, in milliseconds. A step of the wall clock would make
// lapsed leases look fresh, or fresh ones lapsed.
var epoch = time.Now()

const (
	ticksAtEpoch = 1 << 40 // so that ticks are positive
	forEver      = 1 << 42 // renewed then: there is nothing left to renew
	maxLost      = 100_000 // lost entries that are remembered; callers that settle all stay far below
	allSettlers  = 1 << 62 // more than the calls that settle at a time
)

// Ticks returns a time in ms of the set's clock.
func Ticks(t time.Time) int64 { return t.Sub(epoch).Milliseconds() + ticksAtEpoch }

// Init empties the set.
func (h *Set) Init() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ledger = Ledger{}
	h.ledger.Init()
	h.records, h.waiting, h.lost = make(map[redisio.ID]Record), 0, 0
	h.settling, h.gate = make(map[*[]string]struct{}), semaphore.NewWeighted(allSettlers)
}

// Count returns the number of held entries.
func (h *Set) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ledger.n
}

// Empty reports that no entry is held or waits.
func (h *Set) Empty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ledger.n == 0 && h.waiting == 0
}

// Add records entries as held. sent is when they were requested. It returns those that were not held
// before, because a held entry is not returned twice. Entries without a position cannot be settled
// and are not recorded.
func (h *Set) Add(entries []redisio.Entry, sent time.Time) []redisio.Entry {
	ms := Ticks(sent)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.floor = min(h.floor, ms); h.ledger.n == 0 {
		h.floor = ms
	}
	kept := 0
	for i := range entries {
		id := entries[i].Position
		if !id.IsZero() {
			if !h.ledger.put(id, ms) {
				continue
			}
			if n := entries[i].Deliveries; n > 1 {
				h.put(id, Record{State: Handed, N: n})
			} else if len(h.records) > 0 {
				h.put(id, Record{})
			}
		}
		if kept != i {
			entries[kept] = entries[i]
		}
		kept++
	}
	return entries[:kept]
}

// Move applies an event to entries. It returns those that changed, but none for Settled.
func (h *Set) Move(ids []string, e Event) (moved []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e == Finished && h.lost == 0 || (e == Absent || e == Doubted) && h.waiting == 0 {
		return nil
	}
	for _, s := range ids {
		id, err := redisio.ParseID(s)
		if err != nil {
			continue
		}
		if e == Settled {
			h.forget(id)
		} else if h.move(s, id, e) {
			moved = append(moved, s)
		}
	}
	return moved
}

func (h *Set) move(s string, id redisio.ID, e Event) bool {
	r := h.records[id]
	switch {
	case e == TakenOver && h.open(s, id):
		h.forget(id)
		h.boundLost()
		r = Record{Lost: true}
	case e == Finished && r.Lost:
		r.Lost = false
	case e == Absent && r.State.waits():
		r = Record{Lost: r.Lost}
	case e == Doubted && r.State.waits():
		r.State, r.Due = Doubtful, neverDue
	default:
		return false
	}
	h.put(id, r)
	return true
}

// boundLost forgets one lost entry if there are too many.
func (h *Set) boundLost() {
	if h.lost < maxLost {
		return
	}
	for id, r := range h.records {
		if r.Lost {
			r.Lost = false
			h.put(id, r)
			return
		}
	}
}

// put sets a record. The lock is held.
func (h *Set) put(id redisio.ID, r Record) {
	was, known := h.records[id]
	if was.State.waits() {
		h.waiting--
	}
	if was.Lost {
		h.lost--
	}
	if r.State.waits() {
		h.waiting++
	}
	if r.Lost {
		h.lost++
	}
	if r.State != 0 || r.Lost {
		h.records[id] = r
	} else if known {
		delete(h.records, id)
	}
}

// forget removes a held entry. The lock is held.
func (h *Set) forget(id redisio.ID) {
	h.ledger.delete(id)
	if len(h.records) > 0 && h.records[id].State == Handed {
		h.put(id, Record{})
	}
	h.rested(id)
}

// holds reports whether an entry is held. The lock is held.
func (h *Set) holds(id redisio.ID) bool {
	_, held := h.ledger.get(id)
	return held
}

// open reports whether an entry is held and no call settles it. The lock is held.
func (h *Set) open(s string, id redisio.ID) bool {
	held := h.holds(id)
	for ids := range h.settling {
		held = held && !slices.Contains(*ids, s)
	}
	return held
}

// each calls do for each well-formed ID, with its index. The lock is held during do.
func (h *Set) each(ids []string, do func(i int, id redisio.ID)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			do(i, id)
		}
	}
}

// Settle records that a call settles ids, until the returned function is called. It waits while
// entries are restored. Otherwise an ack could arrive between finding an entry missing and restoring
// it, and would be undone.
func (h *Set) Settle(ctx context.Context, ids []string) (done func(), err error) {
	if err := h.enter(ctx, 1); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settling[&ids] = struct{}{}
	return func() {
		h.mu.Lock()
		delete(h.settling, &ids)
		h.mu.Unlock()
		h.gate.Release(1)
	}, nil
}

// Quiesce waits until no call settles entries. No other call begins until the returned function is
// called.
func (h *Set) Quiesce(ctx context.Context) (resume func(), err error) {
	if err := h.enter(ctx, allSettlers); err != nil {
		return nil, err
	}
	return func() { h.gate.Release(allSettlers) }, nil
}

func (h *Set) enter(ctx context.Context, n int64) error {
	if h.gate.TryAcquire(n) || h.gate.Acquire(ctx, n) == nil {
		return nil
	}
	return context.Cause(ctx)
}

// Split sorts ids before an ack. Nearly always it returns them as they are, all plain. Fenced are
// entries with a lapsed lease, or with a lease last renewed on a connection that broke. Lost ones
// are only counted.
func (h *Set) Split(ids []string, now time.Time, lease time.Duration) (plain, fenced []string, lost int) {
	since := Ticks(now.Add(-lease))
	h.mu.Lock()
	defer h.mu.Unlock()
	since = max(since, h.cut) // another consumer may have entries that were not renewed after it
	if h.lost == 0 && (h.floor > since || h.ledger.n == 0) {
		return ids, nil, 0
	}
	for _, s := range ids {
		id, err := redisio.ParseID(s)
		if err != nil {
			plain = append(plain, s) // the server refuses it with a reason
			continue
		}
		if h.records[id].Lost {
			lost++
		} else if at, held := h.ledger.get(id); held && at <= since {
			fenced = append(fenced, s)
		} else {
			plain = append(plain, s)
		}
	}
	return plain, fenced, lost
}

// pause is a time without reads, until entries are settled.
type pause struct {
	ids   map[redisio.ID]struct{} // held entries that are not settled
	over  chan struct{}           // closed when all are settled
	until time.Time               // when it ends at the latest
}

// Pause begins a pause of reading until held entries are settled. nil means all of them.
func (h *Set) Pause(entries []redisio.Entry, until time.Time) {
	p := &pause{ids: make(map[redisio.ID]struct{}), over: make(chan struct{}), until: until}
	h.mu.Lock()
	defer h.mu.Unlock()
	if entries == nil {
		for _, id := range h.ledger.Stale(math.MaxInt64) {
			p.ids[id] = struct{}{}
		}
	}
	for i := range entries {
		if id := entries[i].Position; h.holds(id) {
			p.ids[id] = struct{}{}
		}
	}
	h.resting = p
	h.rested(redisio.ID{})
}

// rested records that an entry is no longer held. It ends a pause that waited for nothing else. The
// lock is held.
func (h *Set) rested(id redisio.ID) {
	if h.resting == nil {
		return
	}
	delete(h.resting.ids, id)
	if len(h.resting.ids) == 0 {
		close(h.resting.over)
		h.resting = nil
	}
}

// WaitOut waits for the end of a pause, if there is one. The caller must not have the token, because
// settling may need it.
func (h *Set) WaitOut(ctx context.Context, stop <-chan struct{}) error {
	h.mu.Lock()
	p := h.resting
	h.mu.Unlock()
	if p == nil {
		return nil
	}
	timer := time.NewTimer(time.Until(p.until))
	defer timer.Stop()
	select {
	case <-p.over:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-stop:
		return redisio.ErrClosed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.resting == p {
		h.resting = nil
	}
	return nil
}
