package redisio

import "time"

// maxParked bounds what is remembered of entries nacked for later. Beyond it, a delay is cut to the lease.
const maxParked = 100_000

// parked is what is remembered of an entry given back.
type parked struct {
	due      int64 // when this reader takes it again, in ms of our clock
	until    int64 // when anybody may take it: a moment later, for until then its absence tells that the pending list was lost
	open     int64 // when anybody can take it, by the idle time it has on the server: until, or when a lease is over
	n        int64 // deliveries
	undo     int64 // the number of the delivery that does not count, since nobody worked on the entry; 0: it counts
	released bool  // given back for others
	offered  bool  // … because it failed here
	suspect  bool  // moved to the suspects by this reader, which remembers it should the pending list be lost
	doubt    bool  // it fell due and was pending for nobody: finished by another, unless the list turns out to be lost
}

const neverDue = 1<<63 - 1

// park moves ids from held to parked.
func (h *heldSet) park(ids []string, how []parked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range ids {
		if id, err := ParseID(s); err == nil {
			p := how[i]
			p.n = max(1, h.counts[id], h.parked[id].n)
			if p.undo > 0 {
				p.n = max(1, p.undo-1)
			}
			h.forget(id)
			h.set(id, p)
		}
	}
}

// undo sets the number of the delivery that does not count, of those that are held: their last one.
// For others it is not known.
func (h *heldSet) undo(ids []string, how []parked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, held := h.held.get(id); held {
				how[i].undo = max(1, h.counts[id])
			}
		}
	}
}

// set parks one id. The lock is held.
func (h *heldSet) set(id ID, p parked) {
	h.parked[id] = p
	h.line.join(turn{p.due, id}, h.parked)
}

// remember notes that entries were moved to the suspects.
func (h *heldSet) remember(ids []string, now time.Time, lease time.Duration) {
	p := parked{due: ticks(now.Add(lease)), until: ticks(now), open: ticks(now), n: 1, released: true, suspect: true}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil && len(h.parked) < maxParked {
			h.set(id, p)
		}
	}
}

// strangers filters ids that are not held and were not given back by this reader.
func (h *heldSet) strangers(ids []string) []string {
	return h.filter(ids, func(_ string, id ID, held bool) bool {
		p, waits := h.parked[id]
		return !held && (!waits || p.suspect)
	})
}

// again returns which of ids, by index, were delivered before their last delivery.
func (h *heldSet) again(ids []string) (which []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.counts) == 0 {
		return nil
	}
	for i, s := range ids {
		if id, err := ParseID(s); err == nil && h.counts[id] > 1 {
			which = append(which, i)
		}
	}
	return which
}

func (h *heldSet) parkedCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.parked)
}

// nextDue returns how long until a parked entry falls due; ok is false when none does.
func (h *heldSet) nextDue(now time.Time) (in time.Duration, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.line.next(h.parked)
	return time.Duration(at-ticks(now)) * time.Millisecond, ok
}

// due removes up to n parked ids that fell due and returns them, in the order they did, with what
// was remembered of them. What is put back has its turn behind what had fallen due with it.
func (h *heldSet) due(now time.Time, n int) (due []string, how map[string]parked) {
	ms := ticks(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(due) < n {
		id, ok := h.line.take(ms, h.parked, len(due) == 0)
		if !ok {
			break
		}
		if how == nil {
			how = make(map[string]parked)
		}
		s := id.String()
		due, how[s] = append(due, s), h.parked[id]
		delete(h.parked, id)
	}
	return due, how
}

// putBack parks ids again, unless they are held or parked by now.
func (h *heldSet) putBack(ids []string, how map[string]parked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		id, err := ParseID(s)
		if err != nil {
			continue
		}
		_, held := h.held.get(id)
		if _, waits := h.parked[id]; !held && !waits {
			h.set(id, how[s])
		}
	}
}

// unpark forgets parked ids.
func (h *heldSet) unpark(ids []string) {
	if len(ids) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			delete(h.parked, id)
		}
	}
}

// parkedOf returns those of ids that this reader gave back.
func (h *heldSet) parkedOf(ids []string) (out []string, how []parked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.parked) == 0 {
		return nil, nil
	}
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if p, ok := h.parked[id]; ok && !p.suspect {
				out, how = append(out, s), append(how, p)
			}
		}
	}
	return out, how
}

// parkedWhere returns the parked ids that pick says.
func (h *heldSet) parkedWhere(pick func(parked) bool) (ids []string, how []parked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, p := range h.parked {
		if pick(p) {
			ids, how = append(ids, id.String()), append(how, p)
		}
	}
	return ids, how
}

// reopen notes anew when parked ids can be taken by anybody.
func (h *heldSet) reopen(asks []ask, open []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range asks {
		if id, err := ParseID(asks[i].id); err == nil {
			if p, ok := h.parked[id]; ok {
				p.open = open[i]
				h.parked[id] = p
			}
		}
	}
}

// doubt marks parked ids as pending for nobody, for a reason that is not known yet.
func (h *heldSet) doubt(ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if p, ok := h.parked[id]; ok {
				p.doubt, p.due = true, neverDue
				h.parked[id] = p
			}
		}
	}
}
