package flow

import (
	"context"
	"time"
)

// Message is one value on its way through a graph, together with what the framework knows of it. Users of the
// operators see values only; handlers (see Via), MapMessage and sinks see messages.
//
// A message owns one share of the lease of the entry it came from. Copying a Message does not copy the share: the
// handler that was given the message owns it until the handler returns (see Handler for what happens then).
type Message[T any] struct {
	// Value is the payload.
	Value T

	meta  *Meta
	lease lease
}

// Meta is what a message carries beside its value. Messages that one entry gave rise to share one Meta, so a Meta must
// not be changed once it is on a message; WithMeta gives a message another one.
type Meta struct {
	// ID is the source's own id of the entry: for a Redis stream the entry id ("1700000000000-0").
	ID string
	// MessageID is the id that the producer gave the message, when it gave one: the id to dedupe by.
	MessageID string
	// Key is the key that order and partitioning may go by; "" when there is none.
	Key string
	// Type names the kind of message, for dispatch; "" when there is none.
	Type string
	// Time is when the entry was written, as far as the source knows.
	Time time.Time
	// ReplyTo is where an answer belongs, as the producer says: for a Redis stream a key. "" when none is expected.
	ReplyTo string
	// Deadline is when the producer stops waiting, by the clock of this process; zero when it does not say.
	Deadline time.Time
	// Headers are name/value pairs, in the order they were written.
	Headers Headers
	// Attempt counts the deliveries of the entry by its source, this one included: 1 is the first.
	Attempt int
	// MaybeDuplicate says that the producer had to write the message a second time, because it
	// could not know whether the first had got through: there may be two of it.
	MaybeDuplicate bool
	// Members are the metadata of the messages that this one joins, in their order, as of those in
	// a batch (see Join). The rest is that of the first. nil for a message that joins no others;
	// those who read it must not change it.
	Members []*Meta
}

// Headers are the name/value pairs of a message, in order; names may repeat.
type Headers []Header

// Header is one name/value pair.
type Header struct{ Name, Value string }

// Get returns the first value of a name, and whether there is one.
func (h Headers) Get(name string) (string, bool) {
	for _, p := range h {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

var noMeta Meta

// NewMessage makes a message that no entry stands behind: nothing is settled when it ends. Operators use it for what
// they inject, tests for what they feed.
func NewMessage[T any](v T, meta Meta) Message[T] { return Message[T]{Value: v, meta: &meta} }

// Meta returns what the message carries beside its value.
func (m Message[T]) Meta() Meta {
	if m.meta == nil {
		return noMeta
	}
	return *m.meta
}

func (m Message[T]) metaRef() *Meta {
	if m.meta == nil {
		return &noMeta
	}
	return m.meta
}

// ID is Meta.ID: the source's own id of the entry.
func (m Message[T]) ID() string { return m.metaRef().ID }

// Key is Meta.Key: what order and partitioning may go by.
func (m Message[T]) Key() string { return m.metaRef().Key }

// Type is Meta.Type: the kind of message.
func (m Message[T]) Type() string { return m.metaRef().Type }

// Time is Meta.Time: when the entry was written.
func (m Message[T]) Time() time.Time { return m.metaRef().Time }

// Headers is Meta.Headers. The slice is shared: do not change it.
func (m Message[T]) Headers() Headers { return m.metaRef().Headers }

// Attempt is Meta.Attempt: which delivery of the entry this is, counted from 1; 0 when the source does not count.
func (m Message[T]) Attempt() int { return m.metaRef().Attempt }

// WithMeta returns the message with other metadata and the same lease.
func (m Message[T]) WithMeta(meta Meta) Message[T] {
	m.meta = &meta
	return m
}

// Derive returns a message with the value v that descends from m: same metadata, same lease.
func Derive[T, U any](m Message[T], v U) Message[U] {
	return Message[U]{Value: v, meta: m.meta, lease: m.lease}
}

// Member returns a message with the value v that descends from the i-th of those that m joins: it
// has the metadata of that message, and how it ends is that message's outcome only. If m joins no
// i-th message it is Derive. In a batch of batches that is taken apart twice, the messages of one
// inner batch share their outcome.
func Member[T, U any](m Message[T], i int, v U) Message[U] {
	u := Derive(m, v)
	if of := m.metaRef().Members; i >= 0 && i < len(of) {
		u.meta = of[i]
		u.lease = m.lease.about(i, len(of))
	}
	return u
}

// Pure makes a handler function of a function that needs no context and cannot fail.
func Pure[T, U any](f func(T) U) func(context.Context, T) (U, error) {
	if f == nil {
		return nil // Validate reports the nil function of the stage it is given to
	}
	return func(_ context.Context, v T) (U, error) { return f(v), nil }
}
