package reader

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
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

// GroupConfig configures a Group. Key and Group are required. The zero value of each other field is
// its default.
type GroupConfig struct {
	Key   string // the stream
	Group string // the consumer group; created, with the stream, if missing

	// Consumer is the name of this reader in the group. Defaults to host-pid-random, which is
	// unique for each reader and each run. With a fixed name, the reader first takes the entries
	// that an earlier run left pending. Two live readers must never share a name.
	Consumer string

	// Start is the position where a new group begins. Defaults to the beginning of the stream.
	Start redisio.Start

	// Block is how long one read waits on the server. Read may take this long to notice the end of
	// its context. Defaults to 1 s, at most 2 s. An idle reader asks a server or proxy that ignores
	// BLOCK ten times a second.
	Block time.Duration

	// MaxCount is the maximum number of entries in one reply. Defaults to 1000.
	MaxCount int

	// Lease is how long an entry stays with a reader that does not renew it. The reader renews held
	// entries every third of it. Entries of any consumer that are idle for longer are reclaimed.
	// Defaults to 30 s, at most 30 days. Use the same value in all readers of a group.
	Lease time.Duration

	// ReclaimEvery is the longest interval between searches for entries without a live lease, such
	// as those that another reader released. A reader without new entries searches every second.
	// Defaults to half the lease, at most 30 days.
	ReclaimEvery time.Duration

	// NoAck reads without pending entries: at most once, three times cheaper for the server.
	// Delivered entries are never delivered again, and Ack, Nack and Release do nothing.
	NoAck bool

	// DeleteSettled deletes entries from the stream when they are acked or dead-lettered, once
	// every other group has read them and has none of them pending. The stream then holds the
	// entries that are not settled, and at most one more per reader. Defaults to false: acked
	// entries stay until the writers' retention drops them. Set it in all readers of a group. Do
	// not set it if others read the stream without a group, such as Tail, or if a group that begins
	// in the past will be added later.
	DeleteSettled bool

	// MaxDeliveries is the largest number of deliveries of an entry that is never settled. After
	// them the reader returns the entry once more, with Deliveries above MaxDeliveries, for the
	// dead letters. If other clients raised the count, the entry is delivered once before that.
	// With a low value Read returns the entries of dead readers in smaller groups. Defaults to 0,
	// no limit.
	MaxDeliveries int

	// DeadMaxLen is the approximate maximum length of the dead-letter stream. The oldest letters
	// are dropped first and reported, see EventDeadDropped. Defaults to 100,000. Negative keeps
	// all.
	DeadMaxLen int64

	// ReapAfter is the idle time after which other consumers without pending entries are deleted
	// from the group. Defaults to 1 h. Negative disables it.
	ReapAfter time.Duration

	// DelayedEvery is the shortest interval at which the reader looks for entries scheduled for the
	// stream (see schedule.Scheduler) and moves due ones. While nothing is scheduled it looks every
	// 5 s. Defaults to 1 s. Negative disables it.
	DelayedEvery time.Duration

	// OnLostGroup is the reaction to a deleted group or stream. Defaults to LostGroupResume.
	OnLostGroup LostGroup

	// Capabilities are the newer features that reads may use: Claim and MaxSize. By default Open
	// detects them with commands that need no additional rights and change nothing. &Capabilities{}
	// disables all, as on Redis 7.0. Delivery is the same with and without. If the server turns out
	// to lack a given feature, the reader stops using it.
	Capabilities *redisio.Capabilities

	// Wait is how long Open retries while Redis is unreachable. Defaults to 0: one try, plus a few
	// more if the connection breaks during it. Once open, the reader reconnects for as long as Read
	// is called.
	Wait time.Duration

	// OnEvent receives the reader's events. OnLost receives the IDs whose lease was lost: another
	// consumer handles these entries now. Both are called from the reader's goroutines and must not
	// block.
	OnEvent func(redisio.Event)
	OnLost  func(ids []string)
}

// longestLease is the largest lease. It is far below values that overflow.
const longestLease = 30 * 24 * time.Hour

func (c GroupConfig) withDefaults() GroupConfig {
	check.Def(&c.Block, time.Second)
	check.Def(&c.MaxCount, 1000)
	check.Def(&c.Lease, 30*time.Second)
	check.Def(&c.ReclaimEvery, c.Lease/2)
	check.Def(&c.ReapAfter, time.Hour)
	check.Def(&c.DeadMaxLen, 100_000)
	check.Def(&c.DelayedEvery, time.Second)
	return c
}

// Validate returns all mistakes at once, each as a *ConfigError. It needs no server.
func (c GroupConfig) Validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &redisio.ConfigError{Type: "GroupConfig", Field: field, Problem: problem, Fix: fix})
	}
	if c.Key == "" {
		bad("Key", "is empty", "name the stream to read")
	}
	if c.Group == "" {
		bad("Group", "is empty", "name the consumer group; readers that share work share its name")
	}
	if c.Block < 0 || c.Block > 2*time.Second {
		bad("Block", fmt.Sprintf("is %v", c.Block), "choose up to 2s: a blocked read can't be interrupted")
	} else if c.Block > 0 && c.Block < time.Millisecond {
		bad("Block", fmt.Sprintf("is %v", c.Block), "choose 1ms or more")
	}
	if c.MaxCount < 0 {
		bad("MaxCount", "is negative", "leave it 0 for 1000")
	}
	if c.Lease < 0 || c.Lease > 0 && c.Lease < 30*time.Millisecond || c.Lease > longestLease {
		bad(
			"Lease",
			fmt.Sprintf("is %v", c.Lease),
			"choose longer than a renewal takes and up to 720h, or leave it 0 for 30s; it can't be switched off",
		)
	}
	if c.ReclaimEvery < 0 || c.ReclaimEvery > longestLease {
		bad(
			"ReclaimEvery",
			fmt.Sprintf("is %v", c.ReclaimEvery),
			"choose up to 720h, or leave it 0 for half the lease; it can't be switched off",
		)
	}
	if c.MaxDeliveries < 0 {
		bad("MaxDeliveries", "is negative", "leave it 0 for no limit")
	}
	if c.DeleteSettled && c.NoAck {
		bad("DeleteSettled", "is set beside NoAck", "drop one of them: without acknowledgements nothing is settled")
	}
	if c.DelayedEvery > 0 && c.DelayedEvery < time.Millisecond {
		bad(
			"DelayedEvery",
			fmt.Sprintf("is %v", c.DelayedEvery),
			"choose 1ms or more, leave it 0 for 1s, or make it negative for never",
		)
	}
	if c.OnLostGroup < LostGroupResume || c.OnLostGroup > LostGroupFail {
		bad("OnLostGroup", fmt.Sprintf("is %d", c.OnLostGroup), "choose one of the LostGroup constants")
	}
	if c.Wait < 0 {
		bad("Wait", "is negative", "leave it 0 to fail at once")
	}
	return errors.Join(errs...)
}

// NewConsumerName returns a unique name: host, process and a random part.
func NewConsumerName() string {
	host, _ := os.Hostname() // an empty host is fine: the random part makes the name unique
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, host)
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(random[:]))
}

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
