package held

import (
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// MaxDelayed is the maximum number of remembered delayed entries. Beyond it, a delay is reduced to
// the lease.
const MaxDelayed = 100_000

const neverDue = 1<<63 - 1

// set puts an entry into a state that waits. The lock is held.
func (h *Set) set(id redisio.ID, r Record) {
	r.Lost = h.records[id].Lost
	h.put(id, r)
	h.queue.join(turn{r.Due, id}, h.records)
}

// Delay moves entries to Delayed, with the given records.
func (h *Set) Delay(ids []string, records []Record) {
	h.each(ids, func(i int, id redisio.ID) {
		r := records[i]
		r.State, r.N = Delayed, max(1, h.records[id].N)
		if r.Undo > 0 {
			r.N = max(1, r.Undo-1)
		}
		h.forget(id)
		h.set(id, r)
	})
}

// Undo sets the number of the delivery that does not count. It is known only for held entries: their
// last delivery.
func (h *Set) Undo(ids []string, records []Record) {
	h.each(ids, func(i int, id redisio.ID) {
		if h.holds(id) {
			records[i].Undo = max(1, h.records[id].N)
		}
	})
}

// Remember records that entries were moved to the suspects. It remembers them while a lease lasts.
func (h *Set) Remember(ids []string, now time.Time, lease time.Duration) {
	r := Record{State: Suspect, Due: Ticks(now.Add(lease)), Until: Ticks(now), Open: Ticks(now), N: 1, Released: true}
	h.each(ids, func(_ int, id redisio.ID) {
		if h.waiting < MaxDelayed {
			h.set(id, r)
		}
	})
}

// Again returns the indexes of ids that were delivered before their last delivery.
func (h *Set) Again(ids []string) (which []int) {
	h.mu.Lock()
	none := len(h.records) == 0
	h.mu.Unlock()
	if none {
		return nil
	}
	h.each(ids, func(i int, id redisio.ID) {
		if r := h.records[id]; r.State == Handed && r.N > 1 {
			which = append(which, i)
		}
	})
	return which
}

// Waiting returns the number of entries that wait.
func (h *Set) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting
}

// NextDue returns the time until the next entry is due. ok is false if none is.
func (h *Set) NextDue(now time.Time) (in time.Duration, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.queue.next(h.records)
	return time.Duration(at-Ticks(now)) * time.Millisecond, ok
}

// Due removes up to n entries that are due and returns them with their records, in the order of
// their times. Entries that are put back come after those that were due with them.
func (h *Set) Due(now time.Time, n int) (due []string, records map[string]Record) {
	ms := Ticks(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(due) < n {
		id, ok := h.queue.take(ms, h.records, len(due) == 0)
		if !ok {
			break
		}
		if records == nil {
			records = make(map[string]Record)
		}
		s, r := id.String(), h.records[id]
		due, records[s] = append(due, s), r
		h.put(id, Record{Lost: r.Lost})
	}
	return due, records
}

// PutBack returns entries to the state that they had, unless they are held or wait by now.
func (h *Set) PutBack(ids []string, records map[string]Record) {
	h.each(ids, func(i int, id redisio.ID) {
		if !h.holds(id) && !h.records[id].State.waits() {
			h.set(id, records[ids[i]])
		}
	})
}

// DelayedOf returns those of ids that this reader nacked or released.
func (h *Set) DelayedOf(ids []string) (out []string, records []Record) {
	if h.Waiting() == 0 {
		return nil, nil
	}
	h.each(ids, func(i int, id redisio.ID) {
		if r := h.records[id]; r.State.waits() && r.State != Suspect {
			out, records = append(out, ids[i]), append(records, r)
		}
	})
	return out, records
}

// WaitingWhere returns the entries that wait and for which pick returns true.
func (h *Set) WaitingWhere(pick func(Record) bool) (ids []string, records []Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, r := range h.records {
		if r.State.waits() && pick(r) {
			ids, records = append(ids, id.String()), append(records, r)
		}
	}
	return ids, records
}

// Reopen updates when any reader can take entries that wait.
func (h *Set) Reopen(ids []string, open []int64) {
	h.each(ids, func(i int, id redisio.ID) {
		if r, ok := h.records[id]; ok && r.State.waits() {
			r.Open = open[i]
			h.records[id] = r
		}
	})
}
