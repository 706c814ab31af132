package events

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
)

// Event is an event of a topic, as Follow yields it.
type Event[T any] struct {
	// Cursor is the position of the event: a loop that starts from it, in any process, begins with
	// the next event.
	Cursor string
	Type   string
	Key    string // see gateways.Keyed
	// ID is the same for all copies of an event. Copies are rare: the publisher repeats a write
	// only if its outcome is unknown.
	ID   string
	Time time.Time // when Redis stored the event, by the clock of Redis
	// Headers and Value are shared by the loops of a feed: do not modify what they refer to.
	Headers flow.Headers
	Value   T
	// Heartbeat reports that this is no event: only Cursor is set. See Heartbeats.
	Heartbeat bool
}

// ErrTooSlow ends a loop with OverflowClose. A new loop may continue from the last cursor.
var ErrTooSlow = errors.New("events: loop is too slow: continue from the last cursor")

// GapError is yielded where events may be missing: those after From, up to To. They were trimmed, or
// dropped by OverflowDropOldest, or the cursor is of a stream that was replaced. The loop goes on
// after To, which is before From if the stream was replaced.
type GapError struct {
	From, To string // cursors
	Missed   int    // events for this loop; -1 if not known
}

func (e *GapError) Error() string {
	n := "events"
	if e.Missed >= 0 {
		n = strconv.Itoa(e.Missed) + " events"
	}
	return fmt.Sprintf("events: %s missing after %s, up to %s: read the current state again", n, e.From, e.To)
}

// CursorError ends a loop that was given an invalid cursor.
type CursorError struct{ Cursor string }

func (e *CursorError) Error() string {
	return fmt.Sprintf("events: invalid cursor %.40q: use one that came with an event", e.Cursor)
}

// FollowOption is an option of Follow.
type FollowOption func(*relay.Options, *keyFilter)

type keyFilter struct {
	on   bool
	keys []string
}

// ForKeys yields only the events with one of these keys, see gateways.Keyed. Without keys it yields
// none. The other events cost the loop nothing.
func ForKeys(keys ...string) FollowOption {
	return func(_ *relay.Options, k *keyFilter) { k.on, k.keys = true, append(k.keys, keys...) }
}

// Heartbeats yields a heartbeat after each interval without an event. Its Cursor passes the events
// of other types and keys. A client that keeps this cursor resumes where it was, even if its last
// event was trimmed. 0 is no heartbeats, which is the default.
func Heartbeats(every time.Duration) FollowOption {
	return func(o *relay.Options, _ *keyFilter) { o.Idle = max(0, every) }
}

// Follow returns a function that yields the events of a type, or of all types if typ is "".
//
//	created := events.Follow[Order](feed, "created")
//	for e, err := range created(ctx, cursor) {
//		var gap *events.GapError
//		switch {
//		case errors.As(err, &gap):
//			reload() // the loop goes on after gap.To
//		case err != nil:
//			return err
//		}
//		cursor = e.Cursor
//	}
//
// The loop begins after cursor. "" is now: the events that are published after the loop has begun.
// "0" is the oldest event that is kept. Unix milliseconds, as a number alone, are a time. Any other
// cursor comes from an event, a heartbeat, a GapError or Feed.Now. Events come in the order of the
// stream, each once. A loop that resumes from a cursor yields what an uninterrupted one does.
//
// Two errors do not end the loop; with both, the event has its Cursor. A *GapError reports missing
// events, and comes before the next event. A *redisio.DecodeError is about this event alone, which
// then has no Value. Every loop of the topic gets the error of an entry without a readable type.
//
// All other errors are the last element: a *CursorError, ErrTooSlow, gateways.ErrClosed after
// Feed.Close, the mistakes of NewFeed, and a *redisio.PermanentError, such as refused credentials
// or missing rights. While Redis is unavailable the loop waits, and then continues. When ctx is
// done the loop ends without an error.
//
// The body of the loop may take its time, see FeedConfig.Overflow. Values are JSON; strings and
// bytes are unchanged.
func Follow[T any](
	f *Feed, typ string, opts ...FollowOption,
) func(ctx context.Context, cursor string) iter.Seq2[Event[T], error] {
	var o relay.Options
	var keys keyFilter
	for _, opt := range opts {
		opt(&o, &keys)
	}
	if o.All = typ == "" && !keys.on; !o.All {
		o.Topics = topicsOf(typ, keys)
	}
	codec := redisio.DefaultCodec[T]()
	return func(ctx context.Context, cursor string) iter.Seq2[Event[T], error] {
		return func(yield func(Event[T], error) bool) {
			o := o
			o.From = cursor
			err := f.follow(ctx, o, func(cursor string, r *record, err error) bool {
				e := Event[T]{Cursor: cursor}
				switch {
				case r != nil:
					if err = eventOf(&e, r, codec); err != nil {
						f.skipped.Add(1)
					}
				default:
					e.Heartbeat = err == nil
				}
				return yield(e, err)
			})
			if err != nil {
				yield(Event[T]{}, err)
			}
		}
	}
}
