package reader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/demand"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Group reads a stream as one consumer of a group. Only one goroutine at a time may call Read. All
// other methods are safe for concurrent use, also while Read blocks.
type Group struct {
	cfg GroupConfig
	rdb redis.UniversalClient // the caller's: never closed

	wire    *conn.Wire  // the blocking connection, for XREADGROUP and all commands that fetch entries
	reading conn.Client // other commands of Read, and all if wire is nil; no retries
	control conn.Client // for settling, renewing and queries, which are safe to repeat

	held     held.Set
	leftover settledIDs // with DeleteSettled
	clock    redisio.Clock
	wiped    atomic.Bool // own entries were missing in the pending list: released ones may be too
	blind    atomic.Bool // the user has no right for Look
	last     position
	health   health
	counts   counts
	company  company
	turn     *turnOfOne       // of the process
	apart    atomic.Bool      // dead letters are in another slot
	settles  redisio.Patience // refusals of Ack, Nack, Release and Dead
	state    atomic.Int32     // readerNew, readerOpen, readerClosed
	token    chan struct{}    // its holder owns the fields below
	stop     chan struct{}    // closed by Close
	keeping  sync.WaitGroup

	// Owned by the holder of token, mostly Read.
	asking     demand.Asking
	idling     idling
	reads      redisio.Patience
	most       int                 // bytes of a reply; 0: no limit
	counted    map[string]struct{} // entries missing in a reply, whose delivery may be counted already
	caps       redisio.Capabilities
	suspect    bool       // entries may be pending for us that we don't hold
	former     bool       // … and belong to an earlier run: their delivery failed
	again      bool       // the last entries were old ones
	paused     bool       // reading paused until nothing is held; suspects come next
	dry        bool       // the last read returned all new entries
	streamGone bool       // … and the stream was missing too
	torn       bool       // the group was recreated, and held entries are not restored yet
	recoverAt  redisio.ID // where the search for them continues
	recheck    time.Time  // when to search again: a dead connection may still receive entries
	reclaim    time.Time  // when to look for entries without a lease
	sweep      time.Time  // … with CLAIM: only for trimmed entries
	cursor     string     // where that search continues
	found      []string   // … and its results, until they are in the pool
	poolAt     time.Time  // when to check the pools
	fails      int        // consecutive errors
	heals      int        // how often the group was recreated since the last reply
	away       bool       // EventReconnecting was emitted, EventReconnected not yet
	notBefore  time.Time  // earliest time of the next command: slows a loop over a permanent error
}

const (
	readerNew = iota
	readerOpen
	readerClosed
)

// NewGroup checks the configuration. It does no I/O before Open.
func NewGroup(rdb redis.UniversalClient, cfg GroupConfig) (*Group, error) {
	if err := errors.Join(check.NeedClient(rdb, "reader.NewGroup"), cfg.Validate()); err != nil {
		return nil, err
	}
	named := cfg.Consumer != ""
	if !named {
		cfg.Consumer = NewConsumerName()
	}
	r := &Group{
		cfg: cfg.withDefaults(), rdb: rdb,
		turn: &suspectsTurn, token: make(chan struct{}, 1), stop: make(chan struct{}),
		cursor: "0-0", suspect: named, former: named,
	}
	r.held.Init()
	return r, nil
}

// Consumer returns the reader's name in the group.
func (r *Group) Consumer() string { return r.cfg.Consumer }

// Ahead returns how far the clock of this process is ahead of the Redis clock, see [redisio.Clock].
func (r *Group) Ahead() time.Duration { return r.clock.Ahead() }

// Config returns the configuration with its defaults.
func (r *Group) Config() GroupConfig { return r.cfg }

// Open creates the group if it is missing and starts to renew leases. If Redis is unreachable, it
// fails after cfg.Wait. It also checks, without side effects, that the user has the rights that are
// needed when something fails.
func (r *Group) Open(ctx context.Context) error {
	if !r.state.CompareAndSwap(readerNew, readerOpen) {
		if r.state.Load() == readerClosed {
			return redisio.ErrClosed
		}
		return fmt.Errorf("redisio: open group %q of %q: it is open already", r.cfg.Group, r.cfg.Key)
	}
	r.reading = conn.Derive(r.rdb, conn.Purpose{Conns: 2, ReadTimeout: r.cfg.Block + conn.ReplyMargin})
	r.control = conn.Derive(r.rdb, conn.Purpose{Conns: 4, Retries: true})
	r.wire = conn.NewWire(r.reading, r.cfg.Key, r.cfg.Block)
	err := fault.WaitFor(ctx, r.cfg.Wait, func() error {
		if err := r.create(ctx, r.reading, r.cfg.Start.String()); err != nil {
			return err
		}
		at, err := r.position(ctx, r.reading)
		r.last.set(at)
		if err == nil && !r.cfg.NoAck {
			err = r.mayRecover(ctx)
		}
		return err
	})
	if err != nil {
		closeErr := errors.Join(r.reading.Release(), r.control.Close())
		r.state.Store(readerNew)
		if fault.Judge(err) == fault.Permanent {
			return errors.Join(
				&redisio.PermanentError{Op: "open group " + r.cfg.Group + " of", Key: r.cfg.Key, Err: err},
				closeErr,
			)
		}
		return errors.Join(
			fmt.Errorf("redisio: open group %q of %q: %w", r.cfg.Group, fault.KeyName(r.cfg.Key), err),
			closeErr,
		)
	}
	if r.cfg.Capabilities != nil {
		r.caps = *r.cfg.Capabilities
	} else {
		r.caps = r.probeReads(ctx)
	}
	r.reclaim = time.Now() // look for entries of dead consumers first
	r.sweep = r.reclaim.Add(sweepEvery * r.cfg.ReclaimEvery)
	_ = r.clock.Ask(ctx, r.reading) // without the right, the clock uses the IDs of entries
	r.reads.Worked()
	r.settles.Worked()
	r.token <- struct{}{}
	r.health.kept(nil)
	r.warnOfEviction(ctx)
	r.keeping.Go(r.keep)
	r.keeping.Go(r.present)
	if r.cfg.DelayedEvery > 0 {
		r.keeping.Go(r.moveScheduled)
	}
	return nil
}

// create creates the group, and the stream if missing. An existing group is no error, because two
// readers may race.
func (r *Group) create(ctx context.Context, c conn.Client, start string) error {
	err := c.XGroupCreateMkStream(ctx, r.cfg.Key, r.cfg.Group, start).Err()
	if err == nil || fault.GroupExists(err) {
		// Before Redis 7.2 a consumer that waits for its first entry is not in the group, so it
		// would be invisible.
		_ = c.XGroupCreateConsumer(ctx, r.cfg.Key, r.cfg.Group, r.cfg.Consumer).Err() // reading creates it too
		return nil
	}
	if fault.IsFull(
		err,
	) { // a full server says so before it looks whether the group is there; only readers can empty it
		if _, posErr := r.position(ctx, c); posErr == nil {
			return nil
		}
	}
	return err
}

// position returns the last delivered ID of the group.
func (r *Group) position(ctx context.Context, c conn.Client) (redisio.ID, error) {
	groups, err := c.XInfoGroups(ctx, r.cfg.Key).Result()
	if err != nil {
		return redisio.ID{}, err
	}
	for _, g := range groups {
		if g.Name == r.cfg.Group {
			return redisio.ParseID(g.LastDeliveredID)
		}
	}
	return redisio.ID{}, fault.ReplyError("NOGROUP the group vanished")
}

// enter takes the right to use what is Read's.
func (r *Group) enter(ctx context.Context) error {
	if r.state.Load() == readerNew {
		return redisio.ErrNotOpen
	}
	select {
	case <-r.token:
	default:
		select {
		case <-r.token:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.stop:
			return redisio.ErrClosed
		}
	}
	if r.state.Load() == readerClosed {
		r.leave()
		return redisio.ErrClosed
	}
	return nil
}

func (r *Group) leave() { r.token <- struct{}{} }

// usable reports why settling is not possible.
func (r *Group) usable() error {
	switch r.state.Load() {
	case readerNew:
		return redisio.ErrNotOpen
	case readerClosed:
		return redisio.ErrClosed
	}
	return nil
}

// Close stops reading and renewing, gives back what is still held so that others can take it at once,
// and deletes this consumer if nothing is pending for it. It waits for a Read under way, which takes
// Block at the most, but no longer than ctx. Only connections the reader made itself are closed. A
// second Close does nothing.
func (r *Group) Close(ctx context.Context) error {
	was := r.state.Swap(readerClosed)
	if was != readerOpen {
		return nil
	}
	defer r.turn.end(r)
	close(r.stop)
	kept := make(chan struct{})
	go func() { // ends with the last renewal, at the latest when its connection is closed below
		r.keeping.Wait()
		close(kept)
	}()
	defer func() { // whatever happens, the connections go
		r.wire.Close()
		_ = r.reading.Release()
		_ = r.control.Release()
		if r.control.Derived {
			<-kept
		}
	}()
	select {
	case <-kept:
	case <-ctx.Done():
		return fmt.Errorf(
			"redisio: close group %q of %q while leases are renewed: %w",
			r.cfg.Group,
			fault.KeyName(r.cfg.Key),
			context.Cause(ctx),
		)
	}
	select {
	case <-r.token: // kept for ever: nobody reads again
	case <-ctx.Done():
		return fmt.Errorf(
			"redisio: close group %q of %q while a read is under way: %w",
			r.cfg.Group,
			fault.KeyName(r.cfg.Key),
			context.Cause(ctx),
		)
	}
	if r.cfg.NoAck {
		return r.forgetConsumer(ctx)
	}
	if err := r.releaseAll(ctx); err != nil {
		return err
	}
	return r.forgetConsumer(ctx)
}

// forgetConsumer deletes this consumer unless something is pending for it; then another reader of the
// group deletes it when that is settled (ReapAfter).
func (r *Group) forgetConsumer(ctx context.Context) error {
	err := r.control.Eval(ctx, script.ScriptLeave, []string{r.cfg.Key}, r.cfg.Group, r.cfg.Consumer).Err()
	if err != nil && !fault.RefusedKeys(err) {
		return fmt.Errorf("redisio: delete consumer of group %q of %q: %w", r.cfg.Group, fault.KeyName(r.cfg.Key), err)
	}
	return nil
}
