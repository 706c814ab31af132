package flow

import (
	"math"
	"sync"
	"time"
)

// record is the metadata of an entry as the slab stores it: what most entries have, in 40 bytes. A
// Meta is made from it when somebody asks. An entry that has more than this has a whole Meta, too.
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
	d := &details{Meta: r.meta(), join: &joinDetails{members: members}}
	d.Members = nil
	return &record{id: d.ID, more: d}
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
