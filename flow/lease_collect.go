package flow

// settledBatch is the set of settlements that a committer has collected but not committed: their
// number, outcomes and bytes, and the settlements themselves if the source's Reader needs them.
type settledBatch struct {
	wanted  bool // whether settled is filled
	settled []Settlement
	n       int
	bytes   int
	by      [len(outcomeNames)]int
	unfault int    // Nacked without a fault: given back unfinished
	unbegun int    // of these: before a handler began them
	nacked  *Fault // the first fault of a Nacked entry, if any
	spans   []spanEnd
}

func (h *settledBatch) reset() {
	clear(h.settled)
	*h = settledBatch{wanted: h.wanted, settled: h.settled[:0]}
}

// collect adds the leases settled since the last call. If all is set, it also adds the others as
// Nacked, because their holders are gone or have been given up.
func (s *slab) collect(h *settledBatch, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := true
	for i := s.scanned; i < len(s.cells); i++ {
		c := &s.cells[i]
		switch have := s.shares(i); {
		case have < settled:
		case have == settled || all:
			if have > settled && Outcome(c.worst.Load()) < Nacked {
				s.worsen(i, ended{outcome: Nacked})
			}
			if !prefix {
				c.more.Store(collected)
			}
			s.take(i, h)
		default:
			prefix = false
		}
		if prefix {
			s.scanned = i + 1
		}
	}
}

// take collects one lease.
func (s *slab) take(i int, h *settledBatch) {
	s.left--
	n := s.end(i)
	o := n.outcome
	h.n++
	h.by[o]++
	if o == Nacked && n.fault == nil {
		h.unfault++
		if n.unbegun {
			h.unbegun++
		}
	} else if o == Nacked && h.nacked == nil {
		h.nacked = n.fault
	}
	if s.spans != nil {
		h.spans = append(h.spans, s.endOf(i, n))
	}
	r := &noRecord
	if s.records != nil {
		r = &s.records[i]
		h.bytes += int(r.size)
	}
	if !h.wanted {
		return
	}
	h.settled = append(h.settled, Settlement{
		Seq: s.first + uint64(i), ID: r.id, Attempt: r.attempts(), Outcome: o, Fault: n.fault,
		Lost: s.cells[i].lost(), Unbegun: n.unbegun && o == Nacked, meta: r,
	})
}
