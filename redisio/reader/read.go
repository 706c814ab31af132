package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// Read fills b with 1 to count entries and blocks until there is one. Entries that were reclaimed,
// nacked or recovered come before new ones, but not twice in a row: what fails for ever does not
// keep new ones waiting for ever. maxBytes, if positive, bounds what is asked for by the
// size entries had so far. Entries that are larger than all before may make one reply up to twice as large, or 1 MiB.
// One entry always fits, whatever its size. With NoAck the size so far is the only bound.
//
// Where replies do not come, as from a server that sends none above its output buffer limit, it
// asks for fewer entries, down to one (see EventAskingLess). An entry that does not come alone
// either is handed out without its fields, see Entry.Withheld.
//
// It returns the cause of ctx once that ended, at the latest after Block; entries that came with it are
// returned, not lost. While Redis is away it waits and reconnects. A *PermanentError is an answer that
// does not change; reading again is allowed, and slow.
func (r *Group) Read(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	b.Reset()
	if count < 1 {
		// COUNT 0 means "everything" to Redis: without a credit nothing may be read.
		return fmt.Errorf("redisio: read %d entries of %q: ask for at least one", count, fault.KeyName(r.cfg.Key))
	}
	for {
		if p := r.held.Paused(); p != nil {
			if err := r.held.WaitOut(ctx, p, r.stop); err != nil {
				return err
			}
		}
		if err := r.readOnce(ctx, count, maxBytes, b); err != errPaused {
			return err
		}
	}
}

// errPaused says that held entries must be settled before the next read.
var errPaused = errors.New("redisio: reading is paused")

// readOnce reads, or returns errPaused. It has the token, which settling may need.
func (r *Group) readOnce(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	if err := r.enter(ctx); err != nil {
		return err
	}
	defer r.leave()
	if !r.paused {
		r.endTurn()
	}
	r.health.begin()
	defer r.health.end()
	count = min(count, r.cfg.MaxCount)
	for {
		if !fault.Sleep(ctx, r.stop, time.Until(r.notBefore)) || r.state.Load() == readerClosed {
			if err := fault.Ended(ctx); err != nil {
				return err
			}
			return redisio.ErrClosed
		}
		n := r.asking.Count(count, maxBytes)
		if r.most = conn.LimitFor(n, maxBytes); r.cfg.NoAck { // what is not taken would be lost
			r.most = 0
		}
		err := r.fill(ctx, n, maxBytes, b)
		if errors.Is(err, resp.ErrFront) { // the rest is pending for us
			r.suspect, err = true, nil
		}
		if r.asking.Failed(n, err) {
			r.fails = min(r.fails, 1) // it is another question
			r.emit(redisio.Event{Kind: redisio.EventAskingLess, Count: r.asking.Few, Err: err})
		}
		if err == nil || ctx.Err() == nil {
			r.health.tell(err)
		}
		if err == nil {
			r.recovered()
			r.asking.Learn(b)
			if len(b.Entries) > 0 {
				return nil
			}
			if r.held.Paused() != nil {
				return errPaused
			}
			continue
		}
		if len(b.Entries) > 0 {
			// A part of a reply, or a first reply before a failed second one: what is here is held, so it
			// has to be handed out. The error will show up again.
			r.suspect = true
			r.asking.Learn(b)
			return nil
		}
		if err := r.handle(ctx, err); err != nil {
			return err
		}
	}
}

// fill makes one round: what is ours already, then new entries.
func (r *Group) fill(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	if r.torn {
		if err := r.mend(ctx); err != nil {
			return err
		}
	}
	if !r.cfg.NoAck {
		if err := r.Look(ctx, r.reading); err != nil {
			return err
		}
		if r.again && !r.suspect && !r.paused { // never new ones before a recovery
			r.again = false
			if err := r.fresh(ctx, count, maxBytes, b, false); err != nil || len(b.Entries) > 0 {
				return err
			}
		}
		if err := r.old(ctx, count, b); err != nil || len(b.Entries) > 0 {
			r.again = err == nil
			return err
		}
		if r.held.Paused() != nil {
			return nil
		}
	}
	return r.fresh(ctx, count, maxBytes, b, true)
}

// fresh reads new entries, and waits for them or not.
func (r *Group) fresh(ctx context.Context, count int, maxBytes int64, b *redisio.Batch, wait bool) error {
	with := r.newerFor(maxBytes, wait)
	err := r.readNew(ctx, count, with, b, wait)
	if fault.Judge(err) != fault.Permanent || with == (newer{}) {
		return err
	}
	// A server that does not know the options may have taken the place of one that does.
	if err = r.readNew(ctx, count, newer{}, b, wait); fault.Judge(err) == fault.Fine {
		r.caps = redisio.Capabilities{}
	}
	return err
}

func (r *Group) readNew(ctx context.Context, count int, with newer, b *redisio.Batch, wait bool) error {
	args := make([]any, 0, 16)
	args = append(args, "xreadgroup", "group", r.cfg.Group, r.cfg.Consumer, "count", count)
	if with.maxSize > 0 {
		args = append(args, "maxsize", with.maxSize)
	}
	var block time.Duration
	if wait {
		block = max(r.wait(with.claim), time.Millisecond) // BLOCK 0 would never end
		args = append(args, "block", block.Milliseconds())
	}
	if with.claim {
		args = append(args, "claim", r.cfg.Lease.Milliseconds())
	}
	if r.cfg.NoAck {
		args = append(args, "noack")
	}
	args = append(args, "streams", r.cfg.Key, ">")
	sent := time.Now()
	raw, cut := r.raw(ctx, int8(len(args)-2), true, args)
	if cut != nil && cut != resp.ErrFront {
		return cut
	}
	had := len(b.Entries)
	old, err := resp.ParseRead(raw, b) // what came before a mistake is delivered as well, and must be handed out
	err = resp.ParsedFront(b, had, cut, err)
	n, claimed := len(b.Entries), old
	r.dry = n < count && cut == nil
	if n == 0 && err == nil && wait {
		fault.Sleep(ctx, r.stop, r.idling.Pause(block, time.Since(sent)))
		return nil
	}
	r.idling = idling{}
	if n > old {
		if at := b.Entries[n-1].Position; !at.IsZero() {
			r.last.set(at)
			r.clock.Saw(at.Time(), time.Now())
		}
	}
	if n == 0 && wait { // there is time to take what another reader has given back
		if at := sent.Add(idleReclaim); at.Before(r.reclaim) {
			r.reclaim = at
		}
	}
	if n > 0 && !r.cfg.NoAck {
		if err := r.disown(ctx, b.Entries[old:]); err != nil {
			r.distrust() // they are pending for us, and not held
			b.Reset()
			return err
		}
		if suspects := dropSuspects(b, &old); len(suspects) > 0 {
			if err := r.shelve(ctx, suspects, 1); err != nil {
				r.distrust()
				b.Reset()
				return err
			}
		}
		b.Entries = r.held.Add(b.Entries, sent)
	}
	if with.claim && (err == nil || claimed > 0) {
		r.tookOver(claimed, b.Entries[:min(old, len(b.Entries))])
	}
	return err
}

// wait is how long to block: until the next duty at most.
func (r *Group) wait(claims bool) time.Duration {
	if r.cfg.NoAck {
		return r.cfg.Block
	}
	now := time.Now()
	// An entry counts as ours from when it was asked for: in a read that blocks for a lease it would lapse at once.
	d := min(r.cfg.Block, r.cfg.Lease/3, r.lookAgain(claims).Sub(now), r.poolAt.Sub(now))
	if !r.recheck.IsZero() {
		d = min(d, r.recheck.Sub(now))
	}
	if due, ok := r.held.NextDue(now); ok {
		d = min(d, due)
	}
	return d
}

// raw sends one command on the reading connection and returns the reply as it came, or its front
// with errFront. An error reply is found by the parser.
func (r *Group) raw(ctx context.Context, keyPos int8, streams bool, args []any) ([]byte, error) {
	return conn.RawReply(ctx, r.wire, r.reading, keyPos, conn.Limit{Bytes: r.most, Streams: streams}, args)
}

// recovered notes that reading works.
func (r *Group) recovered() {
	r.reads.Worked()
	if r.fails == 0 && r.heals == 0 {
		return
	}
	r.fails, r.heals, r.notBefore = 0, 0, time.Time{}
	if r.away {
		r.away = false
		r.emit(redisio.Event{Kind: redisio.EventReconnected})
	}
}

// handle decides what an error means. It returns an error only if reading can't go on.
func (r *Group) handle(ctx context.Context, err error) error {
	if gone := fault.Ended(ctx); gone != nil {
		r.distrust()
		return gone
	}
	if fault.IsUnblocked(
		err,
	) { // the stream was deleted, or has gone to another node with its slot: the next read tells
		return nil
	}
	if fault.Judge(err) == fault.LostGroup {
		if err = r.heal(ctx); err == nil {
			// Somebody may delete it in a loop: from the second time on, wait. How long the server
			// was away before, and took the group with it, is no reason to.
			if r.heals++; r.heals > 1 {
				r.notBefore = time.Now().Add(fault.Backoff(r.heals))
			}
			return nil
		}
	}
	err, first := r.reads.Refusal(err)
	if first {
		r.emit(redisio.Refused(r.cfg.Key, err))
	}
	v := fault.Judge(err)
	r.held.Broke(time.Now())
	r.fails++
	wait := fault.Backoff(r.fails)
	r.notBefore = time.Now().Add(wait)
	switch v {
	case fault.Permanent:
		if fault.IsGroupLost(err) {
			return err
		}
		return &redisio.PermanentError{Op: "read", Key: r.cfg.Key, Err: err}
	case fault.Moved, fault.Later: // this node is not, or no longer, the one to ask
		r.wire.DropIf()
		if v == fault.Moved && r.reading.Redirected() && r.fails < 3 {
			r.notBefore = time.Time{}
		}
	case fault.Broken:
		r.distrust()
	}
	if !r.away || r.fails%8 == 0 {
		r.away = true
		r.emit(redisio.Event{Kind: redisio.EventReconnecting, Err: err, Wait: wait})
	}
	return nil
}

// distrust notes that a reply may have been lost. The server may not have noticed yet that the
// connection is dead and still deliver to it until its BLOCK ends, so there is a second search after that.
func (r *Group) distrust() {
	if r.cfg.NoAck {
		return
	}
	r.suspect, r.recoverAt = true, redisio.ID{}
	r.recheck = time.Now().Add(r.cfg.Block + time.Second)
}
