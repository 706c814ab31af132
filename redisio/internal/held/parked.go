package held

import (
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// MaxParked bounds what is remembered of entries nacked for later. Beyond it, a delay is cut to the lease.
const MaxParked = 100_000

// Parked is what is remembered of an entry given back.
type Parked struct {
	Due int64 // when this reader takes it again, in ms of our clock
	// when anybody may take it: a moment later, for until then its absence tells that the pending
	// list was lost
	Until    int64
	Open     int64 // when anybody can take it, by the idle time it has on the server: until, or when a lease is over
	N        int64 // deliveries
	Undo     int64 // the number of the delivery that does not count, since nobody worked on the entry; 0: it counts
	Released bool  // given back for others
	Offered  bool  // … because it failed here
	Suspect  bool  // moved to the suspects by this reader, which remembers it should the pending list be lost
	Doubt    bool  // it fell due and was pending for nobody: finished by another, unless the list turns out to be lost
}

const neverDue = 1<<63 - 1

// Park moves ids from held to parked.
func (h *Set) Park(ids []string, how []Parked) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for i, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			p := how[i]
			p.N = max(1, h.Counts[id], h.Parked[id].N)
			if p.Undo > 0 {
				p.N = max(1, p.Undo-1)
			}
			h.forget(id)
			h.set(id, p)
		}
	}
}

// Undo sets the number of the delivery that does not count, of those that are held: their last one.
// For others it is not known.
func (h *Set) Undo(ids []string, how []Parked) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for i, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			if _, held := h.Held.get(id); held {
				how[i].Undo = max(1, h.Counts[id])
			}
		}
	}
}

// set parks one id. The lock is held.
func (h *Set) set(id redisio.ID, p Parked) {
	h.Parked[id] = p
	h.line.join(turn{p.Due, id}, h.Parked)
}

// Remember notes that entries were moved to the suspects.
func (h *Set) Remember(ids []string, now time.Time, lease time.Duration) {
	p := Parked{Due: Ticks(now.Add(lease)), Until: Ticks(now), Open: Ticks(now), N: 1, Released: true, Suspect: true}
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil && len(h.Parked) < MaxParked {
			h.set(id, p)
		}
	}
}

// Strangers filters ids that are not held and were not given back by this reader.
func (h *Set) Strangers(ids []string) []string {
	return h.filter(ids, func(_ string, id redisio.ID, held bool) bool {
		p, waits := h.Parked[id]
		return !held && (!waits || p.Suspect)
	})
}

// Again returns which of ids, by index, were delivered before their last delivery.
func (h *Set) Again(ids []string) (which []int) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if len(h.Counts) == 0 {
		return nil
	}
	for i, s := range ids {
		if id, err := redisio.ParseID(s); err == nil && h.Counts[id] > 1 {
			which = append(which, i)
		}
	}
	return which
}

func (h *Set) ParkedCount() int {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	return len(h.Parked)
}

// NextDue returns how long until a parked entry falls due; ok is false when none does.
func (h *Set) NextDue(now time.Time) (in time.Duration, ok bool) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	at, ok := h.line.next(h.Parked)
	return time.Duration(at-Ticks(now)) * time.Millisecond, ok
}

// Due removes up to n parked ids that fell due and returns them, in the order they did, with what
// was remembered of them. What is put back has its turn behind what had fallen due with it.
func (h *Set) Due(now time.Time, n int) (due []string, how map[string]Parked) {
	ms := Ticks(now)
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for len(due) < n {
		id, ok := h.line.take(ms, h.Parked, len(due) == 0)
		if !ok {
			break
		}
		if how == nil {
			how = make(map[string]Parked)
		}
		s := id.String()
		due, how[s] = append(due, s), h.Parked[id]
		delete(h.Parked, id)
	}
	return due, how
}

// PutBack parks ids again, unless they are held or parked by now.
func (h *Set) PutBack(ids []string, how map[string]Parked) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for _, s := range ids {
		id, err := redisio.ParseID(s)
		if err != nil {
			continue
		}
		_, held := h.Held.get(id)
		if _, waits := h.Parked[id]; !held && !waits {
			h.set(id, how[s])
		}
	}
}

// Unpark forgets parked ids.
func (h *Set) Unpark(ids []string) {
	if len(ids) == 0 {
		return
	}
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			delete(h.Parked, id)
		}
	}
}

// ParkedOf returns those of ids that this reader gave back.
func (h *Set) ParkedOf(ids []string) (out []string, how []Parked) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if len(h.Parked) == 0 {
		return nil, nil
	}
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			if p, ok := h.Parked[id]; ok && !p.Suspect {
				out, how = append(out, s), append(how, p)
			}
		}
	}
	return out, how
}

// ParkedWhere returns the parked ids that pick says.
func (h *Set) ParkedWhere(pick func(Parked) bool) (ids []string, how []Parked) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for id, p := range h.Parked {
		if pick(p) {
			ids, how = append(ids, id.String()), append(how, p)
		}
	}
	return ids, how
}

// Reopen notes anew when parked ids can be taken by anybody.
func (h *Set) Reopen(asks []Ask, open []int64) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for i := range asks {
		if id, err := redisio.ParseID(asks[i].Id); err == nil {
			if p, ok := h.Parked[id]; ok {
				p.Open = open[i]
				h.Parked[id] = p
			}
		}
	}
}

// Doubt marks parked ids as pending for nobody, for a reason that is not known yet.
func (h *Set) Doubt(ids []string) {
	h.Mu.Lock()
	defer h.Mu.Unlock()
	for _, s := range ids {
		if id, err := redisio.ParseID(s); err == nil {
			if p, ok := h.Parked[id]; ok {
				p.Doubt, p.Due = true, neverDue
				h.Parked[id] = p
			}
		}
	}
}
