package flow

import (
	"math"
	"sync"
	"time"
)

// record is the metadata of an entry as the slab stores it: what most entries have, in 40 bytes. A
// Meta is made from it on demand. An entry that has more than this has a whole Meta, too.
type record struct {
	id      string
	ms      int64 // Time in milliseconds since 1970; 0: none
	attempt int32
	size    int32 // bytes of the entry, for byte credits
	more    *details
}

// details is all metadata of one entry or join.
type details struct {
	Meta // Members of a join are made when asked for: see all
	join *joinDetails
}

type joinDetails struct {
	members []*record
	once    sync.Once // makes Meta.Members
}

var (
	noRecord record
	noMeta   Meta
)

// set stores the metadata, and reports false if it needs details.
func (r *record) set(m *Meta) bool {
	r.id = m.ID
	if m.MessageID != "" || m.Key != "" || m.Type != "" || m.ReplyTo != "" || m.Headers != nil || m.Members != nil ||
		m.MaybeDuplicate || m.Deadline != (time.Time{}) || m.Attempt < 0 || m.Attempt > math.MaxInt32 {
		return false
	}
	r.attempt = int32(m.Attempt)
	if m.Time == (time.Time{}) {
		return true
	}
	r.ms = m.Time.UnixMilli()
	return r.ms != 0 && m.Time == time.UnixMilli(r.ms)
}

func newRecord(m *Meta) *record {
	r := &record{}
	if !r.set(m) {
		r.more = &details{Meta: *m}
	}
	return r
}

// ref returns an empty record for nil.
func (r *record) ref() *record {
	if r == nil {
		return &noRecord
	}
	return r
}

func (r *record) time() time.Time {
	switch {
	case r.more != nil:
		return r.more.Time
	case r.ms == 0:
		return time.Time{}
	default:
		return time.UnixMilli(r.ms)
	}
}

func (r *record) attempts() int {
	if r.more != nil {
		return r.more.Attempt
	}
	return int(r.attempt)
}

// rest returns the fields that only details have.
func (r *record) rest() *Meta {
	if r == nil || r.more == nil {
		return &noMeta
	}
	return &r.more.Meta
}

// meta returns all metadata.
func (r *record) meta() Meta {
	switch {
	case r == nil:
		return Meta{}
	case r.more != nil:
		return r.more.all()
	default:
		return Meta{ID: r.id, Time: r.time(), Attempt: int(r.attempt)}
	}
}

// all returns the metadata with its members.
func (d *details) all() Meta {
	if d.join != nil {
		d.join.once.Do(func() {
			metas := make([]Meta, len(d.join.members))
			d.Members = make([]*Meta, len(metas))
			for i, of := range d.join.members {
				metas[i] = of.meta()
				d.Members[i] = &metas[i]
			}
		})
	}
	return d.Meta
}

// joins returns the metadata of a message that joins others: that of r, the first, with all as members.
func (r *record) joins(members []*record) *record {
	return r.joinsIn(members, &joinRecord{})
}

// joinsIn is joins in the given room.
func (r *record) joinsIn(members []*record, room *joinRecord) *record {
	d := &room.details
	d.Meta, d.join = r.meta(), &room.join
	d.Members, d.join.members = nil, members
	room.id, room.more = d.ID, d
	return &room.record
}

// joinRecord is the room for the metadata of a join, in one piece.
type joinRecord struct {
	record
	details details
	join    joinDetails
}

// joined returns the number of messages that the message joins.
func (r *record) joined() int {
	switch {
	case r == nil || r.more == nil:
		return 0
	case r.more.join != nil:
		return len(r.more.join.members)
	default:
		return len(r.more.Members)
	}
}

// member returns the metadata of the i-th message that the message joins.
func (r *record) member(i int) *record {
	if j := r.more.join; j != nil {
		return j.members[i]
	}
	return newRecord(r.more.Members[i])
}

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
