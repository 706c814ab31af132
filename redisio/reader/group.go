package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/groupinfo"
	"github.com/streamerson/streamerson-go/redisio/internal/probe"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Group reads a stream as one consumer of a group. Only one goroutine at a time may call Read. All
// other methods are safe for concurrent use, also while Read blocks.
//
// Each part of it has its own state and one owner.
type Group struct {
	loop     // state, right to read, retries; shared with Tail
	consumer // place in the group, connections, held entries, events
	leases   // renewal and restoring, by any goroutine
	fetcher  // commands that fetch entries, and what is to be fetched; owned by the holder of token
	healer   // recreation of a lost group; owned by the holder of token
	settler  // Ack, Nack, Release, Dead, by any goroutine
	keeper   // background goroutines

	duties []duty
}

// NewGroup checks the configuration. It does no I/O before Open.
func NewGroup(rdb redis.UniversalClient, cfg GroupConfig) (*Group, error) {
	if err := errors.Join(check.NeedClient(rdb, "reader.NewGroup"), cfg.Validate()); err != nil {
		return nil, err
	}
	named := cfg.Consumer != ""
	if !named {
		cfg.Consumer = newConsumerName()
	}
	r := &Group{duties: groupDuties, consumer: consumer{cfg: cfg.withDefaults(), rdb: rdb}}
	if cfg.AtMostOnce {
		r.duties = atMostOnceDuties
	}
	r.loop.init(fmt.Sprintf("group %q of %q", cfg.Group, fault.KeyName(cfg.Key)), cfg.Key, r.emit)
	r.health.keeps = true
	r.held.Init()
	r.leases.consumer, r.leases.taking = &r.consumer, make(chan struct{}, 1)
	r.fetcher.leases, r.fetcher.loop = &r.leases, &r.loop
	r.ownSearch = ownSearch{suspect: named, former: named, recheck: never}
	r.turn, r.cursor = &suspectsTurn, "0-0"
	r.healer.leases, r.healer.fetcher = &r.leases, &r.fetcher
	r.settler.leases, r.settler.loop, r.settler.healer = &r.leases, &r.loop, &r.healer
	r.keeper.leases, r.keeper.loop = &r.leases, &r.loop
	return r, nil
}

// Consumer returns the reader's name in the group.
func (r *Group) Consumer() string { return r.cfg.Consumer }

// Ahead returns how far the clock of this process is ahead of the Redis clock, see [redisio.Clock].
func (r *Group) Ahead() time.Duration { return r.clock.Ahead() }

// Config returns the configuration with its defaults.
func (r *Group) Config() GroupConfig { return r.cfg }

// Held returns the number of entries that Read returned, or read ahead, and that are not settled.
func (r *Group) Held() int { return r.held.Count() }

// Parked returns the number of nacked or released entries that this reader still remembers.
func (r *Group) Parked() int { return r.held.Waiting() }

// Info asks the server for the state of the group.
func (r *Group) Info(ctx context.Context) (groupinfo.GroupInfo, error) {
	if err := r.usable(); err != nil {
		return groupinfo.GroupInfo{}, err
	}
	info, err := groupinfo.Ask(ctx, r.control, r.cfg.Key, r.cfg.Group)
	if err != nil {
		return groupinfo.GroupInfo{}, fmt.Errorf("redisio: info of %s: %w", r.name, err)
	}
	return info, nil
}

// Open creates the group if it is missing and starts to renew leases. If Redis is unreachable, it
// fails after cfg.Wait. It also checks, without side effects, that the user has the rights that are
// needed when something fails.
func (r *Group) Open(ctx context.Context) error {
	if err := r.opening(); err != nil {
		return err
	}
	r.dial()
	err := fault.WaitFor(ctx, r.cfg.Wait, func() error {
		if err := r.create(ctx, r.reading, r.cfg.Start.String()); err != nil {
			return err
		}
		at, err := r.delivered(ctx, r.reading)
		r.last.set(at)
		if err == nil && !r.cfg.AtMostOnce {
			err = r.mayRecover(ctx)
		}
		return err
	})
	if err != nil {
		return r.notOpened("open group "+r.cfg.Group+" of", err, r.hangUp())
	}
	if r.cfg.Capabilities != nil {
		r.caps = *r.cfg.Capabilities
	} else {
		r.caps = probe.Reads(ctx, r.control, r.cfg.Key, r.cfg.Consumer)
	}
	r.reclaimAt = time.Now() // look for entries of dead consumers first
	r.sweepAt = r.reclaimAt.Add(sweepEvery * r.cfg.ReclaimEvery)
	_ = r.clock.Ask(ctx, r.reading) // without the right, the clock uses the IDs of entries
	r.answers.Worked()
	r.opened()
	r.warnOfEviction(ctx)
	r.start()
	return nil
}

// Read fills b with 1 to count entries and blocks until there is one. Recovered, nacked and
// reclaimed entries come before new ones, but not twice in a row. So an entry that always fails
// does not delay new ones forever.
//
// A reply has at most MaxCount entries. If count is at least twice the number of entries in a full
// reply, Read returns them and already asks for the next ones, which the next Read returns. Both
// together have at most count entries. See also Unread.
//
// maxBytes, if positive, bounds the size of a reply. Read estimates the size of entries by earlier
// ones. Entries larger than these can make one reply up to twice as large, or 1 MiB. One entry of
// any size always fits. With AtMostOnce the estimate is the only bound.
//
// If replies do not arrive, as from a server that sends none above its output buffer limit, Read
// asks for fewer entries, down to one (see EventAskingLess). If a single entry does not arrive
// either, Read returns it without its fields, see Entry.Withheld.
//
// Read returns the cause of ctx after ctx has ended, at the latest after Block. Entries that arrived
// meanwhile are returned, not lost. While Redis is unreachable, Read waits and reconnects. A
// *PermanentError is an answer that does not change. The caller may call Read again, which then
// waits longer between attempts.
func (r *Group) Read(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	return r.read(ctx, count, maxBytes, b, false)
}

// Poll is Read, except that it returns without entries and without an error if none arrive within
// Block. Use it to look for something else between reads, such as the end of the stream.
func (r *Group) Poll(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	return r.read(ctx, count, maxBytes, b, true)
}

func (r *Group) read(ctx context.Context, count int, maxBytes int64, b *redisio.Batch, once bool) error {
	b.Reset()
	if count < 1 { // COUNT 0 would mean no limit
		return fmt.Errorf("redisio: read %d entries of %q: ask for at least one", count, fault.KeyName(r.cfg.Key))
	}
	for {
		if err := r.held.WaitOut(ctx, r.stop); err != nil {
			return err
		}
		if err := r.run(ctx, r, min(count, r.cfg.MaxCount), maxBytes, b, once); err != nil {
			return err
		}
		if len(b.Entries) > 0 {
			r.goAhead(ctx, count, maxBytes, b)
			return nil
		}
		if once {
			return nil
		}
	}
}

// Close stops reading and renewing, releases all held entries so that other readers can take them
// at once, and deletes this consumer if it has no pending entries. It waits for a running Read, at
// most for Block and at most until ctx ends. It closes only the reader's own connections. A second
// Close does nothing.
func (r *Group) Close(ctx context.Context) error {
	if r.state.Swap(readerClosed) != readerOpen {
		return nil
	}
	defer r.turn.end(&r.fetcher)
	close(r.stop)
	kept := r.kept()
	defer func() {
		_ = r.hangUp()
		if r.control.Derived {
			<-kept // closing the connection has ended a renewal
		}
	}()
	select {
	case <-kept:
	case <-ctx.Done():
		return fmt.Errorf("redisio: close %s while leases are renewed: %w", r.name, context.Cause(ctx))
	}
	if err := r.lastEnter(ctx); err != nil {
		return err
	}
	if !r.cfg.AtMostOnce {
		if err := r.releaseAll(ctx); err != nil {
			return err
		}
	}
	return r.forget(ctx)
}

// releaseAll releases all held entries. If the group is missing, it recreates the group, because no
// other reader knows these entries. Nacked entries keep their delay. The caller holds the token.
func (r *Group) releaseAll(ctx context.Context) error {
	err := r.releaseOnce(ctx)
	if fault.Judge(err) == fault.LostGroup && r.cfg.OnLostGroup != LostGroupFail {
		if err = r.heal(ctx); err == nil {
			err = r.releaseOnce(ctx)
		}
	}
	if fault.Judge(err) == fault.LostGroup {
		return nil // deleted again: on purpose
	}
	return err
}

func (r *Group) releaseOnce(ctx context.Context) error {
	if err := r.look(ctx, r.control); err != nil {
		return err
	}
	if err := r.unread(ctx); err != nil {
		return err
	}
	if err := r.release(ctx, r.held.All(), nil); err != nil {
		return err
	}
	if r.wiped.Load() {
		if err := r.restoreRest(ctx); err != nil {
			return err
		}
	}
	return r.releaseUnknown(ctx)
}

// releaseUnknown releases entries that are pending for this consumer and not held, because a reply
// was lost at the end. Their last delivery does not count, unless it belongs to an earlier run.
func (r *Group) releaseUnknown(ctx context.Context) error {
	for from := (redisio.ID{}); ; {
		page, last, err := r.ownPending(ctx, nil, r.control, from)
		if err != nil {
			return err
		}
		ids, counts := make([]string, len(page)), make(map[string]int64, len(page))
		for i, p := range page {
			ids[i], counts[p.ID] = p.ID, p.RetryCount
		}
		if r.former {
			counts = nil
		}
		if err := r.release(ctx, r.held.Strangers(ids), counts); err != nil {
			return err
		}
		if len(page) < script.PageSize {
			return nil
		}
		from = last.Next()
	}
}
