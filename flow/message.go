package flow

import (
	"context"
	"math"
	"sync"
	"time"
)

// Outcome is how the work on an entry ended. Outcomes are ordered: the outcome of an entry is the
// worst of all its shares.
type Outcome uint8

const (
	// Acked means done. The source acknowledges the entry.
	Acked Outcome = iota
	// Dropped means given up on purpose (Skip, Drop). The source acknowledges the entry and counts
	// it separately.
	Dropped
	// Dead means that the entry can never succeed. The source moves it to its dead letters.
	Dead
	// Nacked means not done. The source delivers the entry again to the next reader, after the
	// requested delay.
	Nacked
	// Failed means not done, and the graph stops because of it. The source treats the entry as
	// Nacked.
	Failed
)

// String returns the outcome's name in lower case.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

var outcomeNames = [...]string{"acked", "dropped", "dead", "nacked", "failed"}

// Message is one value on its way through a graph, with its metadata and its lease. Users of the
// operators see only values. Handlers (see Via), MapMessage and sinks see messages.
//
// A message owns one share of the lease of its entry. Copying a Message does not copy the share:
// the handler that received the message owns it until the handler returns (see Handler for what
// happens then).
type Message[T any] struct {
	// Value is the payload.
	Value T

	meta  *record // nil: no metadata
	lease lease
}

// Meta is the metadata of a message. Messages that come from one entry have the same Meta. WithMeta
// replaces the Meta of a message.
type Meta struct {
	// ID is the source's own ID of the entry. For a Redis stream it is the entry ID
	// ("1700000000000-0").
	ID string
	// MessageID is the ID that the producer gave the message, for deduplication. Empty if it gave
	// no ID.
	MessageID string
	// Key is the key for ordering and partitioning. Empty if the message has no key.
	Key string
	// Type names the kind of message, for dispatch. Empty if the message has no type.
	Type string
	// Time is when the entry was written, as far as the source knows.
	Time time.Time
	// ReplyTo is where to send an answer, according to the producer. For a Redis stream it is a
	// key. "" if no answer is expected.
	ReplyTo string
	// Deadline is when the producer stops waiting, by the clock of this process; zero if it is
	// unknown.
	Deadline time.Time
	// Headers are name/value pairs in the order in which they were written.
	Headers Headers
	// Attempt is the number of times the source has delivered the entry, including this delivery: 1
	// is the first.
	Attempt int
	// MaybeDuplicate means that the producer wrote the message a second time, because it did not
	// know whether the first write succeeded. So two copies may exist.
	MaybeDuplicate bool
	// Members is the metadata of the messages that this one joins, such as those of a batch (see
	// Join), in their order. The other fields are those of the first. Members is nil for a message
	// that joins no others. Do not change it.
	Members []*Meta
}

// Headers are the name/value pairs of a message, in order. Names may repeat.
type Headers []Header

// Header is one name/value pair.
type Header struct{ Name, Value string }

// Get returns the first value of a name, and whether the name exists.
func (h Headers) Get(name string) (string, bool) {
	for _, p := range h {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// NewMessage makes a message without an entry: nothing is settled when it ends. Operators use it
// for messages they create, tests for their input.
func NewMessage[T any](v T, meta Meta) Message[T] {
	return Message[T]{Value: v, meta: newRecord(&meta)}
}

// Meta returns the metadata of the message. If only one field is of interest, the methods below are
// cheaper.
func (m Message[T]) Meta() Meta { return m.meta.meta() }

// ID returns Meta.ID, the source's own ID of the entry.
func (m Message[T]) ID() string { return m.meta.ref().id }

// Key returns Meta.Key, the key for ordering and partitioning.
func (m Message[T]) Key() string { return m.meta.rest().Key }

// Type returns Meta.Type, the kind of message.
func (m Message[T]) Type() string { return m.meta.rest().Type }

// Time returns Meta.Time, when the entry was written.
func (m Message[T]) Time() time.Time { return m.meta.ref().time() }

// Headers returns Meta.Headers. The slice is shared: do not change it.
func (m Message[T]) Headers() Headers { return m.meta.rest().Headers }

// Attempt returns Meta.Attempt, the number of this delivery counted from 1; 0 if the source does
// not count.
func (m Message[T]) Attempt() int { return m.meta.ref().attempts() }

// Joined returns the number of messages that this one joins, such as those of a batch: the length of
// Meta.Members. It is 0 for a message that joins no others.
func (m Message[T]) Joined() int { return m.meta.joined() }

// WithMeta returns the message with other metadata and the same lease.
func (m Message[T]) WithMeta(meta Meta) Message[T] {
	m.meta = newRecord(&meta)
	return m
}

// Derive returns a message with the value v that descends from m: it has the same metadata and
// lease.
func Derive[T, U any](m Message[T], v U) Message[U] {
	return Message[U]{Value: v, meta: m.meta, lease: m.lease}
}

// Member returns a message with the value v that descends from the i-th message joined in m. It has
// the metadata of that message, and its end determines the outcome of that message only. If m joins
// no i-th message, Member is Derive. If a batch of batches is split twice, the messages of one
// inner batch share their outcome.
func Member[T, U any](m Message[T], i int, v U) Message[U] {
	u := Derive(m, v)
	if n := m.meta.joined(); i >= 0 && i < n {
		u.meta = m.meta.member(i)
		u.lease = m.lease.about(i, n)
	}
	return u
}

// Pure makes a handler function from a function that needs no context and cannot fail.
func Pure[T, U any](f func(T) U) func(context.Context, T) (U, error) {
	if f == nil {
		return nil // Validate reports the nil function for the stage that receives it
	}
	return func(_ context.Context, v T) (U, error) { return f(v), nil }
}

// Origin returns the name of the source that read the entry of the message. For a message that joins
// others it is that of the first with an entry. It is empty if the message has no entry. Together
// with Origins it lets an operator follow each source by itself, such as its event time.
func (m Message[T]) Origin() string {
	if s := m.lease.firstRoot(); s != nil {
		return s.source.name
	}
	return ""
}

// firstRoot returns the session of the first entry that the lease stands for, or nil.
func (l lease) firstRoot() *session {
	if l.none() {
		return nil
	}
	if l.slab.from != nil {
		return l.slab.from
	}
	if one, ok := l.member(); ok {
		return one.firstRoot()
	}
	for _, member := range l.slab.members {
		if s := member.firstRoot(); s != nil {
			return s
		}
	}
	return nil
}

// Origins returns the names of all sources that can send messages to the stage, also through other
// stages. ctx must be the context of the stage's handler. Origins returns nil outside a running
// graph.
func Origins(ctx context.Context) []string {
	s := stageOf(ctx)
	if s == nil {
		return nil
	}
	var names []string
	for _, src := range s.la.run.sources {
		if reaches(src.node, s.st.node) {
			names = append(names, src.name)
		}
	}
	return names
}

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
