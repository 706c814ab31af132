package eventstore

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

const (
	pageEvents = 500     // most events of one reply
	pageBytes  = 1 << 20 // and their bytes, if there is more than one
)

// page is one reply of script.Events.
type page[E any] struct {
	total    int        // events of the aggregate
	last     redisio.ID // the last of them
	from     int        // events left out before these
	snapshot string     // the data of the snapshot; "" without one
	at       redisio.ID // the last event that the snapshot includes
	events   []Event[E]
}

// page reads events of an aggregate behind the first from. If snapshot is a key, it reads the
// snapshot there and the events behind it.
func (s *Store[E]) page(ctx context.Context, aggregate string, from int, snapshot string) (p page[E], err error) {
	if err := check.NeedKey("eventstore.Load", aggregate); err != nil {
		return p, err
	}
	keys := []string{s.Log(s.Partition(aggregate)), s.index(aggregate)}
	if snapshot != "" {
		keys = append(keys, snapshot)
	}
	reply, err := s.call(ctx, "read", script.Events, keys, aggregate, from, pageEvents, pageBytes)
	if err != nil || len(reply) != 7 {
		return p, err
	}
	number := func(v any) int { n, _ := v.(int64); return int(n) }
	text := func(v any) string { t, _ := v.(string); return t }
	p.total, p.from, p.snapshot = number(reply[1]), number(reply[3]), text(reply[5])
	p.last, _ = redisio.ParseID(text(reply[2])) // "" without events
	p.at, _ = redisio.ParseID(text(reply[4]))   // "" without a snapshot
	p.events, err = s.decodeAll(reply[6])
	return p, err
}

// Events returns the events of an aggregate, oldest first, behind the first skip of them. It reads
// them page by page, and ends with those that exist when it arrives there. The last pair is an error
// if they cannot be read.
func (s *Store[E]) Events(ctx context.Context, aggregate string, skip int) iter.Seq2[Event[E], error] {
	return func(yield func(Event[E], error) bool) {
		for from := max(skip, 0); ; {
			p, err := s.page(ctx, aggregate, from, "")
			for _, e := range p.events {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(Event[E]{}, err)
				return
			}
			if from += len(p.events); from >= p.total || len(p.events) == 0 {
				return
			}
		}
	}
}

// Last returns the last event ID of an aggregate, None if it has no events, and their number.
func (s *Store[E]) Last(ctx context.Context, aggregate string) (last redisio.ID, events int, err error) {
	if err := check.NeedKey("eventstore.Last", aggregate); err != nil {
		return last, 0, err
	}
	keys := []string{s.Log(s.Partition(aggregate)), s.index(aggregate)}
	reply, err := s.call(ctx, "read", script.Events, keys, aggregate, 0, 0, 0)
	if err != nil || len(reply) != 7 {
		return last, 0, err
	}
	n, _ := reply[1].(int64)
	text, _ := reply[2].(string)
	last, _ = redisio.ParseID(text) // "" without events
	return last, int(n), nil
}

// Appended returns the result of an append that was written within Config.Remember, by its Batch.ID
// and its aggregates in their order. ok is false if no append has this ID. The error wraps
// ErrAppendID if the ID was used for other aggregates. It is for callers that would decide
// differently now, because the append has changed the state.
func (s *Store[E]) Appended(ctx context.Context, id string, aggregates ...string) (r Result, ok bool, err error) {
	if len(aggregates) == 0 {
		return r, false, check.NeedKey("eventstore.Appended", "")
	}
	key, text := s.keysOf(s.Partition(aggregates[0]), id)[1], ""
	err = fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() (err error) {
		text, err = s.rdb.Eval(ctx, script.Read, []string{key}, "GET").Text()
		if errors.Is(err, redis.Nil) {
			text, err = "", nil
		}
		return err
	})
	words := strings.Fields(text)
	switch {
	case err != nil || len(words) == 0:
		return r, false, check.KeyError("read", key, err)
	case words[0] != fingerprint(aggregates):
		return r, false, ErrAppendID
	}
	r.Repeated = true
	for _, word := range words[1:] {
		last, err := redisio.ParseID(word)
		if err != nil {
			return r, false, err
		}
		r.Last = append(r.Last, last)
	}
	return r, true, nil
}
