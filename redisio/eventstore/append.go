package eventstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Expectations of an append, besides the ID of the aggregate's last event.
var (
	// None expects that the aggregate has no events yet.
	None = redisio.ID{}
	// Any appends whatever the last event is.
	Any = redisio.MaxID
)

// Part is the events for one aggregate in a Batch.
type Part[E any] struct {
	Aggregate string
	Expected  redisio.ID // its last event, or None, or Any
	Events    []E
}

// Batch is one append: events for one or several aggregates, which are written together or not at
// all.
type Batch[E any] struct {
	// ID names the append. If an append with this ID has been written, the result of the first one is
	// returned and nothing is written. So a caller that does not know the outcome repeats the append.
	// The store remembers IDs for Config.Remember. An append that expects a certain event is
	// recognised without a limit of time. Defaults to a random ID, which protects the retries within
	// one call.
	ID string
	// Headers are stored with each event.
	Headers []redisio.Header
	// Parts have different aggregates of the same partition, see Store.Partition.
	Parts []Part[E]
}

// Result is the outcome of an append.
type Result struct {
	Last     []redisio.ID // the last event of each part
	Repeated bool         // the append had been written before

	ids []redisio.ID // of all events; nil if Repeated
}

// Append writes events to an aggregate if its last event is the expected one, and returns the ID of
// the last event written. expected may be None or Any. Otherwise nothing is written and the error is
// a *Conflict with the events in between. Other errors wrap redisio.ErrNotWritten, or
// redisio.ErrUnknownOutcome if the server did not answer for Config.Patience.
func (s *Store[E]) Append(
	ctx context.Context, aggregate string, expected redisio.ID, events ...E,
) (redisio.ID, error) {
	r, err := s.AppendAll(ctx, Batch[E]{Parts: []Part[E]{{Aggregate: aggregate, Expected: expected, Events: events}}})
	if err != nil {
		return redisio.ID{}, err
	}
	return r.Last[0], nil
}

// AppendAll writes the events of a batch together. If the last event of any part is not the expected
// one, nothing is written and the error is a *Conflict for the first such part. Other errors are
// those of Append.
func (s *Store[E]) AppendAll(ctx context.Context, b Batch[E]) (Result, error) {
	b.ID = cmp.Or(b.ID, newAppendID())
	if err := s.checkBatch(&b); err != nil {
		return Result{}, err
	}
	args, events, err := s.encode(&b)
	if err != nil {
		return Result{}, err
	}
	p := s.Partition(b.Parts[0].Aggregate)
	keys := s.keysOf(p, b.ID)
	names := make([]string, len(b.Parts))
	for i, part := range b.Parts {
		keys = append(keys, s.index(part.Aggregate))
		names[i] = part.Aggregate
	}
	reply, err := s.write(
		ctx,
		"append to",
		script.Append,
		keys,
		append(s.head(b.ID, fingerprint(names), events), args...)...)
	if err != nil {
		return Result{}, err
	}
	return s.resultOf(&b, reply)
}

func (s *Store[E]) resultOf(b *Batch[E], reply []any) (Result, error) {
	switch status, _ := reply[0].(string); {
	case status == "used":
		return Result{}, &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: ErrAppendID}
	case status == "conflict" && len(reply) == 5:
		n, _ := reply[1].(int64)
		last, _ := reply[2].(string)
		total, _ := reply[3].(int64)
		part := b.Parts[max(min(int(n), len(b.Parts)), 1)-1]
		c := &Conflict[E]{Aggregate: part.Aggregate, Expected: part.Expected, Total: int(total)}
		c.Last, _ = redisio.ParseID(last)    // "" if it has no events
		c.Between, _ = s.decodeAll(reply[4]) // those before one that cannot be decoded
		return Result{}, c
	case len(reply) > len(b.Parts):
		ids := make([]redisio.ID, len(reply)-1)
		for i, v := range reply[1:] {
			text, _ := v.(string)
			var err error
			if ids[i], err = redisio.ParseID(text); err != nil {
				return Result{}, err
			}
		}
		n := len(b.Parts)
		return Result{Last: ids[:n:n], Repeated: status == "again", ids: ids[n:]}, nil
	}
	return Result{}, fmt.Errorf("eventstore: unknown reply of %d values", len(reply))
}

// checkBatch reports mistakes that need no server.
func (s *Store[E]) checkBatch(b *Batch[E]) error {
	m := redisio.MistakesOf("eventstore.Batch")
	m.If(len(b.Parts) == 0, "Parts", "is empty", "add the aggregate and its events")
	seen := make(map[string]bool)
	for _, part := range b.Parts {
		m.Empty("Aggregate", part.Aggregate, "name the aggregate")
		m.If(len(part.Events) == 0, "Events", "is empty", "append at least one event")
		m.If(seen[part.Aggregate], "Aggregate", fmt.Sprintf("%q is there twice", fault.KeyName(part.Aggregate)),
			"join its parts")
		seen[part.Aggregate] = true
		m.If(s.Partition(part.Aggregate) != s.Partition(b.Parts[0].Aggregate), "Aggregate",
			fmt.Sprintf("%q is in another partition", fault.KeyName(part.Aggregate)),
			"give both the same text in braces, as in {tenant}alice")
	}
	if err := m.Err(); err != nil {
		return &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err}
	}
	events := 0
	for _, part := range b.Parts {
		events += len(part.Events)
		if len(part.Aggregate) > maxName {
			return &TooLargeError{"the limit of an aggregate's name", len(part.Aggregate), maxName}
		}
	}
	switch {
	case len(b.ID) > maxName:
		return &TooLargeError{"the limit of an append's ID", len(b.ID), maxName}
	case events > s.cfg.MaxEvents:
		return &TooLargeError{"MaxEvents", events, s.cfg.MaxEvents}
	}
	return nil
}

// encode returns the arguments of the script for all parts, and the number of events.
func (s *Store[E]) encode(b *Batch[E]) (args []any, events int, err error) {
	size := 0
	for _, part := range b.Parts {
		args = append(
			args,
			part.Aggregate,
			expectation(part.Expected),
			messageID(b.ID, events),
			events,
			len(part.Events),
		)
		for _, v := range part.Events {
			fields, err := s.fields(b, part.Aggregate, events, v)
			if err != nil {
				return nil, 0, err
			}
			n := fields.Size()
			if size += n; n > s.cfg.MaxEvent {
				return nil, 0, &TooLargeError{"MaxEvent", n, s.cfg.MaxEvent}
			}
			if size > s.cfg.MaxBytes {
				return nil, 0, &TooLargeError{"MaxBytes", size, s.cfg.MaxBytes}
			}
			if len(fields) > script.MaxOnceFields {
				return nil, 0, &redisio.TooManyFieldsError{Key: part.Aggregate, Fields: len(fields),
					Limit: script.MaxOnceFields}
			}
			args = append(args, 2*len(fields))
			for i := range fields {
				args = append(args, fields[i].Name, fields[i].Value)
			}
			events++
		}
	}
	return args, events, nil
}

// fields returns the entry of the nth event of a batch.
func (s *Store[E]) fields(b *Batch[E], aggregate string, n int, v E) (redisio.Fields, error) {
	env := redisio.Envelope{ID: messageID(b.ID, n), Key: aggregate, Headers: b.Headers}
	fields, _, err := s.cfg.Format.Encode(nil, nil, &env, v)
	if err != nil {
		return nil, &fault.OutcomeError{Outcome: redisio.ErrNotWritten,
			Cause: fmt.Errorf("eventstore: event for %q: %w", fault.KeyName(aggregate), err)}
	}
	if key, _ := fields.Get("key"); string(key) != aggregate {
		return nil, &fault.OutcomeError{Outcome: redisio.ErrNotWritten,
			Cause: errors.New("eventstore: Format does not write the field key; use Kinds or redisio.Native")}
	}
	return fields, nil
}

// fingerprint distinguishes appends to different aggregates.
func fingerprint(aggregates []string) string {
	h := xxhash.New()
	for _, name := range aggregates {
		_, _ = h.WriteString(strconv.Quote(name)) // never fails
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

func newAppendID() string { return rand.Text()[:16] }

func messageID(id string, n int) string { return id + "/" + strconv.Itoa(n) }

// expectation returns an expected ID as the script takes it.
func expectation(id redisio.ID) string {
	switch id {
	case None:
		return ""
	case Any:
		return "*"
	}
	return id.String()
}
