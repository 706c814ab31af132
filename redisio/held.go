package redisio

import (
	"slices"
	"sync"
	"time"
)

// maxParked bounds what is remembered of entries nacked for later. Beyond it, a delay is cut to the lease.
const maxParked = 100_000

// parked is what is remembered of an entry given back.
type parked struct {
	due      int64 // when this reader takes it again, in ms of our clock
	released bool  // anybody may take it at once: its idle time is a whole lease
}

// heldSet is what a reader knows of its own pending entries: those it handed out and that are not
// settled (held), and those it gave back for later (parked). Both are pending for this consumer on the
// server; without the distinction, recovery of lost replies would take back what was nacked.
//
// Its lock guards a few operations on memory and is never held over I/O.
type heldSet struct {
	mu     sync.Mutex
	held   ledger
	parked map[ID]parked
	soon   int64 // the earliest due time in parked, or a lower bound of it

	// settling has the ids of acks and dead letters under way, by the address of the first: what the
	// server has settled already, while its answer is on its way here, is not lost.
	settling map[*string][]string
}

// Leases are timed by the monotonic clock, in milliseconds: were it the wall clock, a step of it would make leases look
// fresh that nobody renews, or lapsed that are not.
var epoch = time.Now()

const ticksAtEpoch = 1 << 40 // so that ticks are positive

func ticks(t time.Time) int64 { return t.Sub(epoch).Milliseconds() + ticksAtEpoch }

func fromTicks(ms int64) time.Time {
	return epoch.Add(time.Duration(ms-ticksAtEpoch) * time.Millisecond)
}

func (h *heldSet) init() {
	h.held.init()
	h.parked, h.settling = make(map[ID]parked), make(map[*string][]string)
}

// settle notes that ids are being settled, until the returned function is called.
func (h *heldSet) settle(ids []string) (done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settling[&ids[0]] = ids
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.settling, &ids[0])
	}
}

// add records entries as held. Those without a position have no name to be settled by.
func (h *heldSet) add(entries []Entry, now time.Time) {
	ms := ticks(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range entries {
		if id := entries[i].Position; !id.IsZero() {
			h.held.put(id, ms)
			if len(h.parked) > 0 {
				delete(h.parked, id)
			}
		}
	}
}

func (h *heldSet) remove(ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			h.held.delete(id)
		}
	}
}

func (h *heldSet) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held.n
}

// park moves ids from held to parked until due.
func (h *heldSet) park(ids []string, due time.Time, released bool) {
	ms := ticks(due)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			h.held.delete(id)
			h.parked[id] = parked{ms, released}
		}
	}
	if len(h.parked) == len(ids) || ms < h.soon {
		h.soon = ms
	}
}

func (h *heldSet) parkedCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.parked)
}

// nextDue returns how long until a parked entry falls due; ok is false when none is parked.
func (h *heldSet) nextDue(now time.Time) (in time.Duration, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.parked) == 0 {
		return 0, false
	}
	return time.Duration(h.soon-ticks(now)) * time.Millisecond, true
}

// due removes up to n parked ids that fell due and returns them, oldest first.
func (h *heldSet) due(now time.Time, n int) []string {
	ms := ticks(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.parked) == 0 || h.soon > ms {
		return nil
	}
	var ids []ID
	for id, p := range h.parked {
		if p.due <= ms {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ID.Compare)
	ids = ids[:min(len(ids), n)]
	for _, id := range ids {
		delete(h.parked, id)
	}
	first := true
	for _, p := range h.parked {
		if first || p.due < h.soon {
			h.soon, first = p.due, false
		}
	}
	return idStrings(ids)
}

// stale returns the held ids whose lease was not renewed since before, sorted.
func (h *heldSet) stale(before time.Time) []string {
	h.mu.Lock()
	ids := h.held.stale(ticks(before))
	h.mu.Unlock()
	return idStrings(ids)
}

// renewed notes that the leases of ids were renewed, for those still held.
func (h *heldSet) renewed(ids []string, now time.Time) {
	ms := ticks(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, held := h.held.get(id); held {
				h.held.put(id, ms)
			}
		}
	}
}

// farParked returns nacked ids that fall due after limit, and their due times.
func (h *heldSet) farParked(limit time.Time) (ids []string, due []int64) {
	ms := ticks(limit)
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, p := range h.parked {
		if p.due > ms && !p.released {
			ids, due = append(ids, id.String()), append(due, p.due)
		}
	}
	return ids, due
}

// unpark forgets parked ids.
func (h *heldSet) unpark(ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			delete(h.parked, id)
		}
	}
}

// unknown filters ids that are neither held nor parked.
func (h *heldSet) unknown(ids []string) []string {
	return h.filter(ids, func(_ string, id ID, held bool) bool {
		_, waits := h.parked[id]
		return !held && !waits
	})
}

// notHeld filters ids that are not held; parked ones pass.
func (h *heldSet) notHeld(ids []string) []string {
	return h.filter(ids, func(_ string, _ ID, held bool) bool { return !held })
}

// filter keeps, in place, the ids that keep says; those that are none go.
func (h *heldSet) filter(ids []string, keep func(s string, id ID, held bool) bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := ids[:0]
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, held := h.held.get(id); keep(s, id, held) {
				out = append(out, s)
			}
		}
	}
	return out
}

// all returns all held ids, sorted.
func (h *heldSet) all() []string { return h.stale(time.UnixMilli(1<<62 - 1)) }

func idStrings(ids []ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// lost filters ids that are held and not being settled.
func (h *heldSet) lost(ids []string) []string {
	return h.filter(ids, func(s string, _ ID, held bool) bool {
		for _, list := range h.settling {
			held = held && !slices.Contains(list, s)
		}
		return held
	})
}

// parkedOf returns those of ids that are parked.
func (h *heldSet) parkedOf(ids []string) (out []string, how []parked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.parked) == 0 {
		return nil, nil
	}
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if p, ok := h.parked[id]; ok {
				out, how = append(out, s), append(how, p)
			}
		}
	}
	return out, how
}
