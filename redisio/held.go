package redisio

import (
	"slices"
	"sync"
	"time"
)

// maxParked bounds what is remembered of entries nacked for later. Beyond it, a delay is cut to the lease.
const maxParked = 100_000

// heldSet is what a reader knows of its own pending entries: those it handed out and that are not
// settled (held), and those it gave back for later (parked). Both are pending for this consumer on the
// server; without the distinction, recovery of lost replies would take back what was nacked.
//
// Its lock guards a few map operations and is never held over I/O.
type heldSet struct {
	mu     sync.Mutex
	held   map[ID]int64 // value: when the lease was last renewed, in ms of our clock
	parked map[ID]int64 // value: when it falls due, in ms of our clock
	soon   int64        // the earliest due time in parked, or a lower bound of it
}

func (h *heldSet) init() {
	h.held, h.parked = make(map[ID]int64), make(map[ID]int64)
}

// add records entries as held. Entries with a bad ID are none of ours.
func (h *heldSet) add(entries []Entry, now time.Time) {
	ms := now.UnixMilli()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range entries {
		if id, err := ParseID(entries[i].ID); err == nil {
			h.held[id] = ms
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
			delete(h.held, id)
		}
	}
}

func (h *heldSet) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// park moves ids from held to parked until due.
func (h *heldSet) park(ids []string, due time.Time) {
	ms := due.UnixMilli()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			delete(h.held, id)
			h.parked[id] = ms
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
	return time.Duration(h.soon-now.UnixMilli()) * time.Millisecond, true
}

// due removes up to n parked ids that fell due and returns them, oldest first.
func (h *heldSet) due(now time.Time, n int) []string {
	ms := now.UnixMilli()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.parked) == 0 || h.soon > ms {
		return nil
	}
	var ids []ID
	for id, at := range h.parked {
		if at <= ms {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ID.Compare)
	ids = ids[:min(len(ids), n)]
	for _, id := range ids {
		delete(h.parked, id)
	}
	first := true
	for _, at := range h.parked {
		if first || at < h.soon {
			h.soon, first = at, false
		}
	}
	return idStrings(ids)
}

// stale returns the held ids whose lease was not renewed since before, sorted.
func (h *heldSet) stale(before time.Time) []string {
	ms := before.UnixMilli()
	h.mu.Lock()
	var ids []ID
	for id, at := range h.held {
		if at <= ms {
			ids = append(ids, id)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(ids, ID.Compare)
	return idStrings(ids)
}

// renewed notes that the leases of ids were renewed, for those still held.
func (h *heldSet) renewed(ids []string, now time.Time) {
	ms := now.UnixMilli()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, held := h.held[id]; held {
				h.held[id] = ms
			}
		}
	}
}

// farParked returns parked ids that fall due after limit, and their due times.
func (h *heldSet) farParked(limit time.Time) (ids []string, due []int64) {
	ms := limit.UnixMilli()
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, at := range h.parked {
		if at > ms {
			ids, due = append(ids, id.String()), append(due, at)
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
	h.mu.Lock()
	defer h.mu.Unlock()
	out := ids[:0]
	for _, s := range ids {
		id, err := ParseID(s)
		if err != nil {
			continue
		}
		_, held := h.held[id]
		_, parked := h.parked[id]
		if !held && !parked {
			out = append(out, s)
		}
	}
	return out
}

// notHeld filters ids that are not held; parked ones pass.
func (h *heldSet) notHeld(ids []string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := ids[:0]
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, held := h.held[id]; !held {
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

// forgetParked forgets all parked ids: the group that had them pending is gone.
func (h *heldSet) forgetParked() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.parked)
}

// heldOf filters ids that are held.
func (h *heldSet) heldOf(ids []string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := ids[:0]
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, held := h.held[id]; held {
				out = append(out, s)
			}
		}
	}
	return out
}
