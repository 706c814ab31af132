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

// GroupConfig configures a Group. Key and Group are required, the zero value of the rest is the default.
type GroupConfig struct {
	Key   string // the stream
	Group string // the consumer group; made, with the stream, when missing

	// Consumer is this reader's name in the group. Default: host-pid-random, so that no two readers,
	// and no two lives of one, share a name. With a name of your own, what an earlier life left
	// pending is taken up at once; two readers alive must never share it.
	Consumer string

	// Start is where a group that does not exist yet begins. Default: the beginning of the stream.
	Start redisio.Start

	// Block is how long one read waits on the server, and so how long Read may take to notice that its
	// context ended. Default 1 s, at most 2 s. A server or proxy that ignores it is asked ten times
	// a second while idle.
	Block time.Duration

	// MaxCount caps the entries of one reply. Default 1000.
	MaxCount int

	// Lease is how long an entry stays with a reader that does not renew it; it renews what it holds
	// every third of it. Entries idle for longer, of any consumer, are reclaimed. Default 30 s, at most 30 days.
	// Readers of one group should agree on it.
	Lease time.Duration

	// ReclaimEvery is how often, at least, entries without a live lease are looked for, such as
	// those that another reader gave back. A reader that has nothing to read looks every second.
	// Default: half the lease, at most 30 days.
	ReclaimEvery time.Duration

	// NoAck reads without pending entries: at most once, three times cheaper for the server. What was
	// delivered is gone, whatever happens; Ack, Nack and Release do nothing.
	NoAck bool

	// DeleteSettled deletes entries from the stream as they are acked or dead-lettered, once every
	// other group is done with them too: it has read them, and has none of them pending. So the
	// stream holds what is not settled, and at most one entry more for each reader. Default false:
	// what was acked stays until the writers' retention drops it. Set it in all readers of a group.
	// Do not set it where others read the stream without a group, such as Tail, or where a
	// group is to be added later that begins in the past.
	DeleteSettled bool

	// MaxDeliveries is the most deliveries of an entry that is never settled. After them the reader
	// returns the entry once more, with Deliveries above MaxDeliveries, for the dead letters. If other
	// clients raised the count, the entry is delivered once before that. A low value makes the groups
	// smaller in which Read returns entries of dead readers. Default 0: no limit.
	MaxDeliveries int

	// DeadMaxLen is the most letters that the dead-letter stream keeps, roughly. The oldest go first. They
	// are counted and told, see EventDeadDropped. Default 100,000. Negative keeps all.
	DeadMaxLen int64

	// ReapAfter is when other consumers that have nothing pending and did nothing are deleted from the
	// group. Default 1 h; negative: never.
	ReapAfter time.Duration

	// DelayedEvery is how often the reader looks for entries scheduled for the stream (see
	// Scheduler), at most, and moves what is due; while nothing is scheduled it looks every 5 s.
	// Default 1 s; negative: never.
	DelayedEvery time.Duration

	// OnLostGroup says what to do when the group, or the stream, was deleted. Default: make it again where it was.
	OnLostGroup LostGroup

	// Capabilities are what newer servers have that may be used: Claim and MaxSize, by reads. Default: Open asks the
	// server, with commands that need no rights of their own and change nothing, and what the
	// server doesn't know is not used. &Capabilities{}: none of them, as on Redis 7.0. Delivery is
	// the same with and without; a server that turns out not to have what is said here is read
	// without.
	Capabilities *redisio.Capabilities

	// Wait is how long Open keeps trying while Redis is not reachable. Default 0: one try, and a
	// few more if the connection breaks within it. Once open, the reader reconnects for as long as
	// it is read.
	Wait time.Duration

	// OnEvent is told what the reader noticed. OnLost is given the IDs whose lease was lost: handling
	// them is somebody else's work now. Both are called from the reader's goroutines and must not block.
	OnEvent func(redisio.Event)
	OnLost  func(ids []string)
}

// longestLease is more than anybody waits for, and far from what overflows.
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

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
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

// NewConsumerName returns a name that no other reader has: host, process and a random part.
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

// Group reads a stream as one consumer of a group. Read is for one goroutine at a time; all
// other methods may be called from anywhere, also while Read blocks.
type Group struct {
	cfg GroupConfig
	rdb redis.UniversalClient // the caller's: never closed

	wire    *conn.Wire  // the blocking connection: XREADGROUP and everything that fetches entries
	reading conn.Client // what else Read asks, and everything where there is no wire; no retries
	control conn.Client // settling, renewing, asking: repeating these is harmless

	held     held.Set
	leftover settledIDs // with DeleteSettled
	clock    redisio.Clock
	wiped    atomic.Bool // entries of ours were pending for nobody: what was given back may be so too
	blind    atomic.Bool // look is not allowed
	last     position
	health   health
	counts   counts
	company  company
	turn     *turnOfOne       // of the process
	apart    atomic.Bool      // dead letters lie in another slot
	settles  redisio.Patience // with what Ack, Nack, Release and Dead are answered
	state    atomic.Int32     // readerNew, readerOpen, readerClosed
	token    chan struct{}    // whoever has it may use what is marked "Read's"
	stop     chan struct{}    // closed by Close
	keeping  sync.WaitGroup

	// Read's:
	asking     demand.Asking
	idling     idling
	reads      redisio.Patience
	most       int                 // bytes of a reply; 0: no limit
	counted    map[string]struct{} // entries that did not come, and may have a delivery counted
	caps       redisio.Capabilities
	suspect    bool       // pending entries of ours may exist that we don't hold
	former     bool       // … and they are of an earlier life: their delivery failed
	again      bool       // the last entries were no new ones
	paused     bool       // reading paused until nothing is held; suspects come next
	dry        bool       // the last read took all new ones there were
	streamGone bool       // … for the stream was gone as well
	torn       bool       // the group was made again, and what we have is not back in it
	recoverAt  redisio.ID // where the search for them goes on
	recheck    time.Time  // when to search once more: a dead connection may still have swallowed entries
	reclaim    time.Time  // when to look for entries without a lease
	sweep      time.Time  // … where CLAIM looks for them: for those that were trimmed
	cursor     string     // where that goes on
	found      []string   // … and what it found, until that is in the pool
	poolAt     time.Time  // when to look into the pools
	fails      int        // errors in a row
	heals      int        // how often the group was made again, without a reply since
	away       bool       // EventReconnecting was emitted, EventReconnected not yet
	notBefore  time.Time  // no command before: a loop over a permanent error stays slow
}

const (
	readerNew = iota
	readerOpen
	readerClosed
)

// NewGroup checks the configuration. It does no I/O: that begins with Open.
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

// Ahead is how far this process's clock is ahead of Redis's, as far as the reader knows: see [redisio.Clock].
func (r *Group) Ahead() time.Duration { return r.clock.Ahead() }

// Config returns the configuration with its defaults.
func (r *Group) Config() GroupConfig { return r.cfg }

// Open makes the group if it is missing and starts to keep leases. While Redis is not reachable it
// fails, or tries for cfg.Wait. It tries, without any effect, whether the user may do what is
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
	r.reclaim = time.Now() // dead consumers of the past first
	r.sweep = r.reclaim.Add(sweepEvery * r.cfg.ReclaimEvery)
	_ = r.clock.Ask(ctx, r.reading) // who may not ask goes by what is read
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

// create makes the group, and the stream with it. That it exists already is fine: two readers may race.
func (r *Group) create(ctx context.Context, c conn.Client, start string) error {
	err := c.XGroupCreateMkStream(ctx, r.cfg.Key, r.cfg.Group, start).Err()
	if err == nil || fault.GroupExists(err) {
		// Before Redis 7.2 a consumer that waits for its first entry is not in the group: nobody
		// would see that it reads.
		_ = c.XGroupCreateConsumer(ctx, r.cfg.Key, r.cfg.Group, r.cfg.Consumer).Err() // reading makes it as well
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

// position asks how far the group has been delivered.
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
