package eventstore

import (
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Event is an event of an aggregate.
type Event[E any] struct {
	// ID is the ID of its entry in the log. It is unique in its partition, and the IDs of an aggregate
	// only grow.
	ID        redisio.ID
	Aggregate string
	Type      string // the kind of event, see Kinds; "" if the format sets none
	MessageID string // unique: the ID of the append, a slash, and the number of the event in it
	Headers   []redisio.Header
	Value     E
}

// Time returns when the event was appended, by the clock of the server. Use it for display only.
func (e Event[E]) Time() time.Time { return e.ID.Time() }

// AppendID returns the ID of the append that wrote the event, see Batch.ID.
func (e Event[E]) AppendID() string {
	if i := strings.LastIndexByte(e.MessageID, '/'); i >= 0 {
		return e.MessageID[:i]
	}
	return e.MessageID
}

// Decode returns the event that an entry of a log holds.
func (s *Store[E]) Decode(entry *redisio.Entry) (Event[E], error) {
	var env redisio.Envelope
	v, err := s.cfg.Format.Decode(entry, &env)
	if err != nil {
		return Event[E]{}, fmt.Errorf("eventstore: %w", err)
	}
	return Event[E]{ID: entry.Position, Aggregate: env.Key, Type: env.Type, MessageID: env.ID,
		Headers: env.Headers, Value: v}, nil
}

// decodeAll decodes the entries of a reply, as XRANGE returns them.
func (s *Store[E]) decodeAll(reply any) ([]Event[E], error) {
	list, _ := reply.([]any)
	var events []Event[E]
	for _, item := range list {
		entry, err := entryOf(item)
		if err != nil {
			return events, err
		}
		e, err := s.Decode(&entry)
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

func entryOf(reply any) (redisio.Entry, error) {
	pair, _ := reply.([]any)
	if len(pair) != 2 {
		return redisio.Entry{}, fmt.Errorf("eventstore: unknown reply %.40v", reply)
	}
	text, _ := pair[0].(string)
	id, err := redisio.ParseID(text)
	if err != nil {
		return redisio.Entry{}, err
	}
	values, _ := pair[1].([]any)
	entry := redisio.Entry{ID: text, Position: id}
	for i := 0; i+1 < len(values); i += 2 {
		name, _ := values[i].(string)
		value, _ := values[i+1].(string)
		entry.Fields = append(entry.Fields, redisio.Field{Name: name, Value: []byte(value)})
	}
	return entry, nil
}
