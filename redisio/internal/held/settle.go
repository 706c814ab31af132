package held

import (
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Asks says for each of ids how to restore it should it be pending for nobody: with how many deliveries, or not at
// all (0) when it is not held or its lease has lapsed, for then it was taken over and finished, most likely.
func (h *Set) Asks(ids []string, now time.Time, lease time.Duration) []Ask {
	since := Ticks(now.Add(-lease))
	asks := make([]Ask, len(ids))
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for i, s := range ids {
		asks[i].Id = s
		if id, err := redisio.ParseID(s); err == nil {
			if at, held := h.Held.get(id); held && at > since {
				asks[i].N = max(1, h.Counts[id])
			}
		}
	}
	return asks
}

// Lapse notes that the leases of ids run out at open, before they are given back: should the outcome of that stay
// unknown, somebody else may have them from then on.
func (h *Set) Lapse(ids []string, open []int64, lease time.Duration) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for i, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			if at, held := h.Held.get(id); held && at != forEver && open[i]-lease.Milliseconds() < at {
				at = open[i] - lease.Milliseconds()
				h.Held.put(id, at)
				h.floor = min(h.floor, at)
			}
		}
	}
}

// Split sorts ids to be acked. All of them may be acked plainly, nearly always, and are returned as they came. Else
// fenced are those whose lease has lapsed, or was last renewed on a connection that broke, and
// late, dropped here, those known to be somebody else's.
func (h *Set) Split(ids []string, now time.Time, lease time.Duration) (plain, fenced []string, late int) {
	since := Ticks(now.Add(-lease))
	h.Mu.Lock()
	defer h.Mu.Unlock()
	since = max(since, h.cut) // what was not renewed after it may be another's
	if len(h.late) == 0 && (h.floor > since || h.Held.n == 0) {
		return ids, nil, 0
	}
	for _, s := range ids {
		id, err := redisio.ParseID(s)
		if err != nil {
			plain = append(plain, s) // the server refuses it, and says why
			continue
		}
		if _, gone := h.late[id]; gone {
			late++
		} else if at, held := h.Held.get(id); held && at <= since {
			fenced = append(fenced, s)
		} else {
			plain = append(plain, s)
		}
	}
	return plain, fenced, late
}

// Lose moves ids from held to late, but for those that are being settled. It returns those it moved.
func (h *Set) Lose(ids []string) (lost []string) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for _, s := range ids {
		id, err := redisio.ParseID(s)
		if err != nil || !h.Open(s, id) {
			continue
		}
		h.forget(id)
		if len(h.late) == maxLate {
			for any := range h.late {
				delete(h.late, any)
				break
			}
		}
		h.late[id] = struct{}{}
		lost = append(lost, s)
	}
	return lost
}

// Open reports an id that is held and not being settled. The lock is held.
func (h *Set) Open(s string, id redisio.ID) bool {
	_, held := h.Held.get(id)
	for ids := range h.settling {
		held = held && !slices.Contains(*ids, s)
	}
	return held
}

// InTime filters those that are not known to be somebody else's; nearly always it returns asks itself.
func (h *Set) InTime(asks []Ask) []Ask {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if len(h.late) == 0 {
		return asks
	}
	return slices.DeleteFunc(slices.Clone(asks), func(a Ask) bool {
		id, err := redisio.ParseID(a.Id)
		_, late := h.late[id]
		return err == nil && late
	})
}

// Settled forgets that ids are somebody else's, for nothing more will be said about them. It returns those that were.
func (h *Set) Settled(ids []string) (late []string) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if len(h.late) == 0 {
		return nil
	}
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			if _, is := h.late[id]; is {
				delete(h.late, id)
				late = append(late, s)
			}
		}
	}
	return late
}

// Unknown filters ids that are neither held nor parked.
func (h *Set) Unknown(ids []string) []string {
	return h.filter(ids, func(_ string, id redisio.ID, held bool) bool {
		_, waits := h.Parked[id]
		return !held && !waits
	})
}

// NotHeld filters ids that are not held; parked ones pass.
func (h *Set) NotHeld(ids []string) []string {
	return h.filter(ids, func(_ string, _ redisio.ID, held bool) bool { return !held })
}

// Unsettled filters ids that are held and not being settled.
func (h *Set) Unsettled(ids []string) []string {
	return h.filter(ids, func(s string, id redisio.ID, _ bool) bool { return h.Open(s, id) })
}

// filter keeps, in place, the ids that keep says; those that are none go.
func (h *Set) filter(ids []string, keep func(s string, id redisio.ID, held bool) bool) []string {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	out := ids[:0]
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			if _, held := h.Held.get(id); keep(s, id, held) {
				out = append(out, s)
			}
		}
	}
	return out
}
