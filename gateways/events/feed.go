package events

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/redisio"
)

// FeedConfig configures a Feed. The zero value is the default.
type FeedConfig struct {
	// Overflow is what happens to a loop that reads more slowly than events arrive. Defaults to
	// OverflowPause.
	Overflow Overflow
	// Queue is how many events may wait for a loop in memory. Defaults to 256.
	Queue int
	// Linger is how long the stream is still read after the last loop has ended. Defaults to 10 s.
	Linger time.Duration
	// Log receives faults. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

// Overflow is what happens to a loop that is too slow.
type Overflow = relay.Overflow

const (
	// OverflowPause lets the loop read at its own pace, with Redis as its buffer. If events are
	// trimmed before the loop reads them, it gets a *GapError.
	OverflowPause = relay.Pause
	// OverflowDropOldest drops the oldest waiting events. The loop gets a *GapError in their place.
	OverflowDropOldest = relay.DropOldest
	// OverflowClose ends the loop with ErrTooSlow.
	OverflowClose = relay.Close
)

// Feed reads the events of a topic for the loops of Follow. It reads the stream once for all of
// them, over one connection, as long as there are loops. Events that many loops read are decoded
// once. All methods are safe for concurrent use.
type Feed struct {
	cfg  FeedConfig
	key  string
	err  error // of the configuration
	pool *relay.Pool[*record]

	loops, gaps, slow, skipped atomic.Int64
}

// NewFeed creates the feed of a topic. It does no I/O. Mistakes in its arguments are reported by
// Validate and by each loop. One per process and topic is enough.
//
//	feed := events.NewFeed(rdb, "orders", events.FeedConfig{})
//	defer feed.Close(ctx)
//	created := events.Follow[Order](feed, "created")
func NewFeed(rdb redis.UniversalClient, topic string, cfg FeedConfig) *Feed {
	f := &Feed{key: Key(topic)}
	m := redisio.MistakesOf("FeedConfig")
	m.Join(slot.CheckTopic("NewFeed", topic))
	m.Is(cfg.Overflow < OverflowPause || cfg.Overflow > OverflowClose, "Overflow", int(cfg.Overflow),
		"choose one of the Overflow constants")
	m.Negative("Queue", int64(cfg.Queue), "leave it 0 for 256 events")
	m.Negative("Linger", int64(cfg.Linger), "leave it 0 for 10 seconds")
	m.Client(rdb)
	cfg.Queue, cfg.Linger = max(0, cfg.Queue), max(0, cfg.Linger)
	cfg.Log = flow.Thinned(cfg.Log)
	f.cfg, f.err = cfg, m.Err()
	f.pool = relay.NewPool(rdb, relay.PoolConfig[*record]{
		Config: relay.Config[*record]{Decode: newRecord, Queue: cfg.Queue, Log: cfg.Log},
		Linger: cfg.Linger,
	})
	if f.err == nil {
		f.err = f.pool.Validate()
	}
	return f
}

// Validate reports all mistakes in the arguments. It needs no server.
func (f *Feed) Validate() error { return f.err }

// Access returns the rights to follow the events of a topic.
//
//	rdb.ACLSetUser(ctx, "reader", append(events.FeedConfig{}.Access("orders").Rules(), "on", ">password")...)
func (FeedConfig) Access(topic string) redisio.Access { return slot.TopicOf(topic).ReadEvents() }

// Now returns the cursor of the newest event, or of one shortly before it. A program that shows a
// state and then its changes takes the cursor first, reads the state, and follows the events after
// the cursor. No change is missing then. Some may be in both, so applying one twice must be
// harmless. Now waits for Redis until ctx is done.
func (f *Feed) Now(ctx context.Context) (cursor string, err error) {
	if f.err != nil {
		return "", f.err
	}
	l, err := f.pool.Listen(ctx, f.key, relay.Options{})
	if err != nil {
		return "", f.final(err)
	}
	defer l.Close()
	return l.Cursor(), nil
}

// FeedStats are the current state of a Feed, and its counts since it was created.
type FeedStats struct {
	Loops     int64 // now
	Streams   int   // being read, or until a moment ago: 0 or 1
	Gaps      int64 // that loops got
	Slow      int64 // loops that ended with ErrTooSlow
	Undecoded int64 // errors that loops got for events they could not decode
}

// Stats returns the state and the counts of the feed.
func (f *Feed) Stats() FeedStats {
	return FeedStats{f.loops.Load(), f.pool.Streams(), f.gaps.Load(), f.slow.Load(), f.skipped.Load()}
}

// Close ends all loops with gateways.ErrClosed and stops reading, which takes up to a second. It
// does not wait for the bodies of loops. The Redis client stays open.
func (f *Feed) Close(ctx context.Context) error {
	if f.err != nil {
		return nil
	}
	return f.pool.Close(ctx)
}

// final returns the last error of a loop.
func (f *Feed) final(err error) error {
	var bad *relay.CursorError
	var refused *redisio.PermanentError
	switch {
	case errors.As(err, &bad):
		return &CursorError{bad.Cursor}
	case errors.Is(err, relay.ErrClosed):
		return gateways.ErrClosed
	case errors.Is(err, relay.ErrTooSlow):
		f.slow.Add(1)
		return ErrTooSlow
	case redisio.IsPermanent(err) && !errors.As(err, &refused):
		return &redisio.PermanentError{Op: "follow", Key: f.key, Err: err}
	}
	return err
}

// follow passes what a listener receives to each, until that returns false. It returns nil if ctx is
// done.
func (f *Feed) follow(ctx context.Context, o relay.Options, each func(cursor string, r *record, err error) bool) error {
	if f.err != nil {
		return f.err
	}
	f.loops.Add(1)
	defer f.loops.Add(-1)
	o.Overflow = f.cfg.Overflow
	l, err := f.pool.Listen(ctx, f.key, o)
	if err != nil {
		return f.unless(ctx, err)
	}
	defer l.Close()
	last := o.From // the cursor that the loop has
	for {
		b, err := l.Next(ctx)
		if err != nil {
			return f.unless(ctx, err)
		}
		if b.Gap != nil {
			f.gaps.Add(1)
			last = b.Gap.To
			if !each(last, nil, &GapError{b.Gap.From, b.Gap.To, b.Gap.Missed}) {
				return nil
			}
		}
		for i := range b.Items {
			if ctx.Err() != nil {
				return nil
			}
			last = b.Items[i].Cursor
			if !each(last, b.Items[i].Value, nil) {
				return nil
			}
		}
		if b.Gap == nil && len(b.Items) == 0 && !each(cmp.Or(b.Cursor, last), nil, nil) {
			return nil
		}
	}
}

// unless returns the last error of a loop, or nil if its context is done.
func (f *Feed) unless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return f.final(err)
}
