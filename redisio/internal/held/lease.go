package held

import (
	"math"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Idea of restoring: an entry of this reader that is not pending for it may be pending for another
// consumer, which has taken it over. Then it is lost. Or it is pending for no consumer. Then another
// consumer has settled it, or the pending list was lost with the consumer or the group. Other
// consumers take only entries without a live lease, and the reader's clock for a lease starts before
// the server's. So while the lease has not lapsed by that clock, the pending list was lost, and the
// reader puts the entry back. If this is wrong, because a user took entries by hand and finished them,
// it causes a duplicate. It loses nothing.
//
// After that, another consumer has nearly always settled it, and the reader gives it up. But if the
// consumer is missing or an entry with a live lease is, the pending list was lost. Then all entries
// are restored, and also if the group has no other reader.
//
// Any reader may take a delayed entry that is due, so its absence alone says nothing. It is Doubtful
// until the next check of the entries with live leases, and of the consumer. If one of these is
// missing, the pending list was lost, and all entries are restored.

// Ask is a request for one entry: set its idle time, and restore it if it is pending for no consumer.
type Ask struct {
	Id   string
	Idle int64 // ms
	N    int64 // deliveries to restore it with; 0: do not restore
	Undo int64 // number of the delivery that does not count; 0: all count
	Free int64 // 1: move it to ReleasedConsumer; 2: to SuspectsConsumer
}

// Lapsed reports whether the lease of a held entry may have lapsed.
func (h *Set) Lapsed(now time.Time, lease time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := Ticks(now.Add(-lease))
	if h.floor <= since {
		h.floor = h.ledger.oldest()
	}
	return h.floor <= since
}

// LapsedOf returns those of ids that are held with a lapsed lease, nearly always none.
func (h *Set) LapsedOf(ids []string, now time.Time, lease time.Duration) (lapsed []string) {
	if !h.Lapsed(now, lease) {
		return nil
	}
	since := Ticks(now.Add(-lease))
	h.each(ids, func(i int, id redisio.ID) {
		if at, held := h.ledger.get(id); held && at <= since {
			lapsed = append(lapsed, ids[i])
		}
	})
	return lapsed
}

// Asks returns a request for each of ids, to restore it if it is held and its lease has not lapsed.
func (h *Set) Asks(ids []string, now time.Time, lease time.Duration) []Ask {
	since := Ticks(now.Add(-lease))
	asks := make([]Ask, len(ids))
	for i := range ids {
		asks[i].Id = ids[i]
	}
	h.each(ids, func(i int, id redisio.ID) {
		if at, held := h.ledger.get(id); held && at > since {
			asks[i].N = max(1, h.records[id].N)
		}
	})
	return asks
}

// InTime returns the requests for entries that are not lost. Nearly always these are all.
func (h *Set) InTime(asks []Ask) []Ask {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost == 0 {
		return asks
	}
	return slices.DeleteFunc(slices.Clone(asks), func(a Ask) bool {
		id, err := redisio.ParseID(a.Id)
		return err == nil && h.records[id].Lost
	})
}

// Unknown returns the entries that are neither held nor wait.
func (h *Set) Unknown(ids []string) []string {
	return h.filter(ids, func(_ string, id redisio.ID, held bool) bool { return !held && !h.records[id].State.waits() })
}

// Strangers returns the entries that are not held and that this reader did not release.
func (h *Set) Strangers(ids []string) []string {
	return h.filter(ids, func(_ string, id redisio.ID, held bool) bool {
		state := h.records[id].State
		return !held && (!state.waits() || state == Suspect)
	})
}

// NotHeld returns the entries that are not held, also those that wait.
func (h *Set) NotHeld(ids []string) []string {
	return h.filter(ids, func(_ string, _ redisio.ID, held bool) bool { return !held })
}

// Unsettled returns the entries that are held and that no call settles.
func (h *Set) Unsettled(ids []string) []string {
	return h.filter(ids, func(s string, id redisio.ID, _ bool) bool { return h.open(s, id) })
}

// filter keeps, in place, the IDs for which keep returns true. It drops malformed ones.
func (h *Set) filter(ids []string, keep func(s string, id redisio.ID, held bool) bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := ids[:0]
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			if keep(s, id, h.holds(id)) {
				out = append(out, s)
			}
		}
	}
	return out
}

// Stale returns the held IDs with a last renewal at before or earlier, sorted.
func (h *Set) Stale(before time.Time) []string {
	h.mu.Lock()
	ids := h.ledger.Stale(Ticks(before))
	h.mu.Unlock()
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// Known returns a function that reports whether an entry was held when Known was called.
func (h *Set) Known() func(s string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := h.ledger.Stale(math.MaxInt64)
	return func(s string) bool {
		id, err := redisio.ParseID(s)
		_, known := slices.BinarySearchFunc(ids, id, redisio.ID.Compare)
		return known && err == nil
	}
}

// All returns all held IDs, sorted.
func (h *Set) All() []string { return h.Stale(time.UnixMilli(1<<62 - 1)) }

// Renewed records that the leases of entries were renewed.
func (h *Set) Renewed(ids []string, now time.Time) { h.renewedAt(ids, Ticks(now)) }

// Gone records that entries are no longer in the stream. No reader can take them over, and their
// leases need no renewal.
func (h *Set) Gone(ids []string) { h.renewedAt(ids, forEver) }

func (h *Set) renewedAt(ids []string, ms int64) {
	h.each(ids, func(_ int, id redisio.ID) {
		if h.holds(id) {
			h.ledger.put(id, ms)
		}
	})
}

// Lapse records that the leases of ids run out at open, before the entries are released. If the
// outcome of the release is unknown, another reader may have them from then on.
func (h *Set) Lapse(ids []string, open []int64, lease time.Duration) {
	h.each(ids, func(i int, id redisio.ID) {
		at, held := h.ledger.get(id)
		if end := open[i] - lease.Milliseconds(); held && at != forEver && end < at {
			h.ledger.put(id, end)
			h.floor = min(h.floor, end)
		}
	})
}

// Raise sets the floor to the oldest renewal.
func (h *Set) Raise() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor = h.ledger.oldest()
}

// Broke records that a connection broke.
func (h *Set) Broke(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = Ticks(now)
}

// Reissued returns the IDs of new entries that are held, if another server may have issued them.
func (h *Set) Reissued(entries []redisio.Entry) (ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut == 0 || h.ledger.n == 0 {
		return nil
	}
	for i := range entries {
		if h.holds(entries[i].Position) {
			ids = append(ids, entries[i].ID)
		}
	}
	return ids
}
