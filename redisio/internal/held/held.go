package held

import (
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Empty reports that nothing is held or parked.
func (h *Set) Empty() bool {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	return h.Held.n == 0 && len(h.Parked) == 0
}

// Broke notes that a connection broke.
func (h *Set) Broke(now time.Time) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	h.cut = Ticks(now)
}

// Reissued returns the IDs of entries that are held, if another server may have issued them.
func (h *Set) Reissued(entries []redisio.Entry) (ids []string) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if h.cut == 0 || h.Held.n == 0 {
		return nil
	}
	for i := range entries {
		if _, held := h.Held.get(entries[i].Position); held {
			ids = append(ids, entries[i].ID)
		}
	}
	return ids
}

// Set is what a reader knows of its own pending entries: those it handed out and that are not
// settled (held), and those it gave back for later (parked). Both are pending for this consumer on the
// server; without the distinction, recovery of lost replies would take back what was nacked.
//
// Its lock guards a few operations on memory and is never held over I/O.
type Set struct {
	Mu     sync.Mutex
	Held   Ledger
	Counts map[redisio.ID]int64 // deliveries of held entries, where more than one
	Parked map[redisio.ID]Parked
	line   waitingLine // when which of parked falls due
	floor  int64       // no lease of a held entry was renewed before
	cut    int64       // when a connection broke last, or 0: the server may be another since

	// late has ids that are somebody else's now and whose settlement is still to come. It is bounded.
	late map[redisio.ID]struct{}

	// settling has the ids of acks and dead letters under way, by call: what the server has settled
	// already, while its answer is on its way here, is not lost.
	settling map[*[]string]struct{}
	quiet    chan struct{} // not nil while nothing may be settled; closed when that ends
	calm     chan struct{} // closed when nothing is being settled; nil when nobody waits for that

	resting *pause // what reading waits for, or nil
}

// Leases are timed by the monotonic clock, in milliseconds: were it the wall clock, a step of it would make leases look
// fresh that nobody renews, or lapsed that are not.
var epoch = time.Now()

const (
	ticksAtEpoch = 1 << 40 // so that ticks are positive
	forEver      = 1 << 42 // renewed then: there is nothing to renew any more
	maxLate      = 100_000 // ids in heldSet.late; whoever settles what was read never gets there
)

func Ticks(t time.Time) int64 { return t.Sub(epoch).Milliseconds() + ticksAtEpoch }

func (h *Set) Init() {
	h.Held.Init()
	h.Counts, h.Parked, h.late = make(map[redisio.ID]int64), make(map[redisio.ID]Parked), make(map[redisio.ID]struct{})
	h.settling = make(map[*[]string]struct{})
}

// Settle notes that ids are being settled, until the returned function is called. It waits while
// entries are restored: an ack between finding an entry missing and restoring it would be undone.
func (h *Set) Settle(ctx context.Context, ids []string) (done func(), err error) {
	if err := h.lockWhenLoud(ctx); err != nil {
		return nil, err
	}
	defer h.Mu.Unlock()
	h.settling[&ids] = struct{}{}
	return func() {
		h.Mu.Lock()
		defer h.Mu.Unlock()
		delete(h.settling, &ids)
		if len(h.settling) == 0 && h.calm != nil {
			close(h.calm)
			h.calm = nil
		}
	}, nil
}

// Quiesce waits until nothing is being settled, and keeps it so until the returned function is called.
func (h *Set) Quiesce(ctx context.Context) (resume func(), err error) {
	if err := h.lockWhenLoud(ctx); err != nil {
		return nil, err
	}
	quiet := make(chan struct{})
	h.quiet = quiet
	resume = func() {
		h.Mu.Lock()
		defer h.Mu.Unlock()
		h.quiet = nil
		close(quiet)
	}
	for len(h.settling) > 0 {
		if h.calm == nil {
			h.calm = make(chan struct{})
		}
		calm := h.calm
		h.Mu.Unlock()
		select {
		case <-calm:
		case <-ctx.Done():
			resume()
			return nil, context.Cause(ctx)
		}
		h.Mu.Lock()
	}
	h.Mu.Unlock()
	return resume, nil
}

// lockWhenLoud locks when settling is allowed.
func (h *Set) lockWhenLoud(ctx context.Context) error {
	h.Mu.Lock()
	for h.quiet != nil {
		quiet := h.quiet
		h.Mu.Unlock()
		select {
		case <-quiet:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		h.Mu.Lock()
	}
	return nil
}

// Add records entries as held, since sent: when they were asked for. It returns those that were not held
// before: what is in hand is not handed out once more. Those without a position have no name to be settled by.
func (h *Set) Add(entries []redisio.Entry, sent time.Time) []redisio.Entry {
	ms := Ticks(sent)
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if h.floor = min(h.floor, ms); h.Held.n == 0 {
		h.floor = ms
	}
	kept := 0
	for i := range entries {
		id := entries[i].Position
		if !id.IsZero() && !h.Held.put(id, ms) {
			continue
		}
		if kept != i {
			entries[kept] = entries[i]
		}
		kept++
		if n := entries[i].Deliveries; n > 1 {
			h.Counts[id] = n
		} else if len(h.Counts) > 0 {
			delete(h.Counts, id)
		}
		if len(h.Parked) > 0 {
			delete(h.Parked, id)
		}
		if len(h.late) > 0 {
			delete(h.late, id)
		}
	}
	return entries[:kept]
}

func (h *Set) Remove(ids []string) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			h.forget(id)
		}
	}
}

func (h *Set) forget(id redisio.ID) {
	h.Held.delete(id)
	if len(h.Counts) > 0 {
		delete(h.Counts, id)
	}
	if h.resting != nil {
		h.resting.Settled(id, h.Held.n)
	}
}

func (h *Set) Count() int {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	return h.Held.n
}

// Stale returns the held ids whose lease was not renewed since before, sorted.
func (h *Set) Stale(before time.Time) []string {
	h.Mu.Lock()
	ids := h.Held.Stale(Ticks(before))
	h.Mu.Unlock()
	return idStrings(ids)
}

// All returns all held ids, sorted.
func (h *Set) All() []string { return h.Stale(time.UnixMilli(1<<62 - 1)) }

// Renewed notes that the leases of ids were renewed, for those still held.
func (h *Set) Renewed(ids []string, now time.Time) { h.renewedAt(ids, Ticks(now)) }

// Gone notes that entries are no longer in the stream: nobody can take them over, and nobody needs to renew them.
func (h *Set) Gone(ids []string) { h.renewedAt(ids, forEver) }

func (h *Set) renewedAt(ids []string, ms int64) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			if _, held := h.Held.get(id); held {
				h.Held.put(id, ms)
			}
		}
	}
}

// Raise finds the true floor.
func (h *Set) Raise() {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	h.floor = h.Held.oldest()
}

// idStrings formats IDs as Redis does.
func idStrings(ids []redisio.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}
