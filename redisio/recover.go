package redisio

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	pageSize = 500 // ids of one XPENDING page or one script call
	scans    = 10  // XAUTOCLAIM calls of one round: each looks at ten times its COUNT
)

// old takes entries that were delivered before: nacked ones that fell due, own ones that we don't
// hold, and those of anybody whose lease ran out.
func (r *GroupReader) old(ctx context.Context, count int, b *Batch) error {
	now := time.Now()
	if r.wiped.Swap(false) {
		if _, err := r.restoreParked(ctx); err != nil {
			r.wiped.Store(true)
			return err
		}
	}
	if ids, how := r.held.due(now, count); len(ids) > 0 {
		gone, err := r.take(ctx, ids, 1, b)
		if err != nil {
			r.held.putBack(ids, how) // still parked, still due, but for what came before the error
			return err
		}
		if ids = without(r.held.notHeld(ids), gone); len(ids) > 0 {
			if err := r.reviveDue(ctx, ids, how); err != nil {
				r.held.putBack(ids, how)
				return err
			}
		}
		if len(b.Entries) > 0 {
			return nil
		}
	}
	if !r.recheck.IsZero() && !now.Before(r.recheck) {
		r.recheck, r.suspect = time.Time{}, true
	}
	if r.suspect {
		if err := r.recoverOwn(ctx, count, b); err != nil || len(b.Entries) > 0 {
			return err
		}
	}
	if !now.Before(r.lookAgain(r.claims())) {
		return r.reclaimIdle(ctx, count, b)
	}
	return nil
}

// recoverOwn finds entries that are pending for us and that we don't hold: the reply that carried them
// was lost. A history read would find them as well, and count a delivery of everything else that is
// pending with each.
func (r *GroupReader) recoverOwn(ctx context.Context, count int, b *Batch) error {
	bump := 0 // nobody ever saw them: the delivery the server counted is this one
	if r.former {
		bump = 1
	}
	for {
		ids, last, err := r.ownPending(ctx, r.reading, r.recoverAt)
		if err != nil {
			return err
		}
		n := len(ids)
		missing := r.held.unknown(ids)
		whole := len(missing) <= count-len(b.Entries)
		missing = missing[:min(len(missing), count-len(b.Entries))]
		if len(missing) > 0 {
			had := len(b.Entries)
			gone, err := r.take(ctx, missing, bump, b)
			if err != nil {
				return err
			}
			if err := r.reviveTaken(ctx, without(missing, gone)); err != nil {
				return err
			}
			r.emit(Event{Kind: EventRecovered, IDs: entryIDs(b.Entries[had:])})
		}
		if whole && n < pageSize {
			r.suspect, r.former, r.recoverAt = false, false, ID{}
			return nil
		}
		if whole {
			r.recoverAt = last.Next()
		}
		if len(b.Entries) >= count {
			return nil // suspect stays: the next Read goes on
		}
	}
}

// reclaimIdle takes over entries whose lease ran out, whoever had them. XAUTOCLAIM moves them to us
// without counting a delivery, in steps with a cursor that is kept; then take fetches them. Should we
// die or lose the connection between the two, they are pending for us and the next search finds them.
func (r *GroupReader) reclaimIdle(ctx context.Context, count int, b *Batch) error {
	for range scans {
		reply, err := r.reading.Do(ctx, "xautoclaim", r.cfg.Key, r.cfg.Group, r.cfg.Consumer,
			r.cfg.Lease.Milliseconds(), r.cursor, "count", count, "justid").Slice()
		if err != nil {
			r.distrust()
			return err
		}
		next, ids, gone, err := autoClaimed(reply)
		if err != nil {
			return err
		}
		r.cursor = next
		if gone > 0 {
			r.emit(Event{Kind: EventTrimmed, Count: gone})
		}
		if ids = r.held.notHeld(ids); len(ids) > 0 {
			gone, err := r.take(ctx, ids, 1, b)
			if err != nil {
				r.distrust()
				return err
			}
			if err := r.reviveTaken(ctx, without(ids, gone)); err != nil {
				return err
			}
			if len(b.Entries) > 0 {
				r.emit(Event{Kind: EventReclaimed, IDs: entryIDs(b.Entries)})
			}
		}
		if r.cursor == "0-0" {
			r.reclaim = r.nextReclaim()
			r.sweep = r.reclaim.Add((sweepEvery - 1) * r.cfg.ReclaimEvery)
			return nil
		}
		if len(b.Entries) > 0 {
			return nil // more may follow at once: r.reclaim is due still
		}
	}
	return nil
}

// nextReclaim is when to look for entries without a lease, after there was none.
func (r *GroupReader) nextReclaim() time.Time {
	return time.Now().Add(r.cfg.ReclaimEvery*9/10 + rand.N(r.cfg.ReclaimEvery/5+1))
}

// autoClaimed reads [cursor, [id…], [deleted id…]]. Before Redis 7 the third part is missing, and
// miniredis sends something else.
func autoClaimed(reply []any) (next string, ids []string, gone int, err error) {
	if len(reply) < 2 {
		return "", nil, 0, &ReplyError{0, "XAUTOCLAIM answered less than a cursor and a list"}
	}
	next, ok := reply[0].(string)
	list, ok2 := reply[1].([]any)
	if !ok || !ok2 {
		return "", nil, 0, &ReplyError{0, "XAUTOCLAIM answered no cursor or no list"}
	}
	for _, v := range list {
		if id, ok := v.(string); ok {
			ids = append(ids, id)
		}
	}
	if len(reply) > 2 {
		if deleted, ok := reply[2].([]any); ok {
			gone = len(deleted)
		}
	}
	return next, ids, gone, nil
}

// take fetches entries that are pending for us, records them as held and adds them to b. Tombstones are
// acked by the script, counted and returned: there is nothing of them to restore.
func (r *GroupReader) take(ctx context.Context, ids []string, bump int, b *Batch) (gone []string, err error) {
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), pageSize)]
		ids = ids[len(chunk):]
		args := make([]any, 0, 7+len(chunk))
		args = append(args, "eval", scriptTake, 1, r.cfg.Key, r.cfg.Group, r.cfg.Consumer, bump)
		for i := range chunk {
			args = append(args, &chunk[i])
		}
		sent := time.Now()
		raw, err := r.raw(ctx, 3, args)
		if err != nil {
			return gone, err
		}
		n := len(b.Entries)
		err = parseEntries(raw, 1, b)
		kept := n
		for i := n; i < len(b.Entries); i++ {
			if !b.Entries[i].Deleted {
				b.Entries[kept] = b.Entries[i]
				kept++
				continue
			}
			gone = append(gone, b.Entries[i].ID)
		}
		deleted := len(b.Entries) - kept
		b.Entries = b.Entries[:n+len(r.held.add(b.Entries[n:kept], sent))]
		if deleted > 0 {
			r.emit(Event{Kind: EventTrimmed, Count: deleted})
		}
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// mend puts what we hold, and what we gave back, into a group that was made again.
func (r *GroupReader) mend(ctx context.Context) error {
	count := 0
	if !r.cfg.NoAck {
		held, err := r.mendHeld(ctx)
		if err != nil {
			return err
		}
		given, err := r.restoreParked(ctx)
		if err != nil {
			return err
		}
		r.wiped.Store(false)
		count = held + given
	}
	gone := r.streamGone
	r.torn, r.streamGone = false, false
	r.emit(Event{Kind: EventGroupRecreated, Position: r.last.get().String(), Count: count, StreamGone: gone})
	return nil
}

// mendHeld restores what we hold, lapsed leases or not: nobody can have settled it since the group is there again.
func (r *GroupReader) mendHeld(ctx context.Context) (int, error) {
	resume, err := r.held.quiesce(ctx)
	if err != nil {
		return 0, err
	}
	sent := time.Now()
	ids := r.held.all()
	s, err := r.setIdleQuietly(ctx, r.held.asks(ids, sent, math.MaxInt64))
	if err == nil {
		r.held.renewed(s.restored, sent)
		r.held.gone(s.gone)
	}
	resume()
	r.tell(s)
	if err == nil {
		r.lose(s.lost)
	}
	return len(s.restored), err
}

// healed makes a lost group again while nobody reads, for a settlement that failed with err. That is Read's
// business, but a Read may not come before what is settled here has given its credits back. It
// reports whether to try again.
func (r *GroupReader) healed(ctx context.Context, err error) bool {
	if judge(err) != lostGroup {
		return false
	}
	select {
	case <-r.token:
	default:
		return false // a Read is under way, and finds out
	}
	defer r.leave()
	return r.usable() == nil && r.heal(ctx) == nil
}

func entryIDs(entries []Entry) []string {
	ids := make([]string, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
	}
	return ids
}

// without returns ids but for some, in a slice of its own.
func without(ids, some []string) []string {
	if len(some) == 0 {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(some, id) })
}
