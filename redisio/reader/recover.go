package reader

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// scans is the number of XAUTOCLAIM calls of one round. Each looks at ten times its COUNT.
const scans = 10

// idleReclaim is how often a reader without new entries looks for entries without a lease, at least.
const idleReclaim = time.Second

// old takes entries that were delivered before: nacked ones that fell due, own ones that we don't
// hold, and those of anybody whose lease ran out.
func (r *Group) old(ctx context.Context, count int, b *redisio.Batch) error {
	now := time.Now()
	if r.wiped.Swap(false) {
		if _, err := r.restoreParked(ctx); err != nil {
			r.wiped.Store(true)
			return err
		}
	}
	if err := r.shelveFound(ctx); err != nil {
		return err
	}
	if r.paused { // all held entries are settled now
		if err := r.fromPool(ctx, count, b); err != nil || len(b.Entries) > 0 {
			return err
		}
	}
	ids, how := r.held.Due(now, count)
	ids = slices.DeleteFunc(ids, func(id string) bool { return how[id].Suspect }) // remembered for long enough
	if len(ids) > 0 {
		gone, err := r.take(ctx, ids, 1, redisio.ReleasedConsumer, b)
		if err != nil {
			r.held.PutBack(ids, how) // still parked, still due, but for what came before the error
			return err
		}
		if ids = without(r.held.NotHeld(ids), gone); len(ids) > 0 {
			if err := r.reviveDue(ctx, ids, how); err != nil {
				r.held.PutBack(ids, how)
				return err
			}
		}
		if len(b.Entries) > 0 {
			if slices.ContainsFunc(b.Entries, func(e redisio.Entry) bool { return how[e.ID].Offered }) {
				r.leftAlone()
			}
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
	if !now.Before(r.poolAt) {
		if err := r.fromPool(ctx, count, b); err != nil || len(b.Entries) > 0 || r.held.Paused() != nil {
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
func (r *Group) recoverOwn(ctx context.Context, count int, b *redisio.Batch) error {
	for {
		page, last, err := r.ownPending(ctx, r.reading, r.recoverAt)
		if err != nil {
			return err
		}
		n := len(page)
		missing, err := r.shelveOwn(ctx, page)
		if err != nil {
			return err
		}
		whole := len(missing) <= count-len(b.Entries)
		missing = missing[:min(len(missing), count-len(b.Entries))]
		if len(missing) > 0 {
			had := len(b.Entries)
			gone, err := r.take(ctx, missing, 0, "", b) // the counted delivery is this one
			if err == nil {
				err = r.reviveTaken(ctx, without(missing, gone))
			}
			if len(b.Entries) > had || err == nil {
				r.emit(redisio.Event{Kind: redisio.EventRecovered, IDs: entryIDs(b.Entries[had:])})
			}
			if err != nil {
				return err
			}
		}
		if whole && n < script.PageSize {
			r.suspect, r.former, r.recoverAt = false, false, redisio.ID{}
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

// shelveOwn goes through a page of what is pending for us. It returns the entries that are not held
// and were never seen. Others that are not held were delivered before: to an earlier life, or by a
// take whose reply was lost. It moves these to the suspects.
func (r *Group) shelveOwn(ctx context.Context, page []redis.XPendingExt) (unseen []string, err error) {
	var suspects []string
	for _, p := range page {
		if r.former || p.RetryCount > 1 {
			suspects = append(suspects, p.ID)
		} else {
			unseen = append(unseen, p.ID)
		}
	}
	if suspects = r.held.Strangers(suspects); len(suspects) > 0 {
		back := 1 // the last delivery did not arrive
		if r.former {
			back = 0
		}
		if err := r.shelve(ctx, suspects, back); err != nil {
			return nil, err
		}
		r.emit(redisio.Event{Kind: redisio.EventRecovered, IDs: suspects})
	}
	return r.held.Strangers(unseen), nil
}

// reclaimIdle looks for entries whose lease has run out. XAUTOCLAIM moves them to us without counting
// a delivery, in steps with a cursor. Then they go to the pool of suspects, and the first group is
// taken. If we lose the connection in between, they are pending for us, and the next search finds
// them.
func (r *Group) reclaimIdle(ctx context.Context, count int, b *redisio.Batch) error {
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
			r.emit(redisio.Event{Kind: redisio.EventTrimmed, Count: gone})
		}
		r.found = r.held.Strangers(slices.Clone(ids))
		if ids, _ = r.held.ParkedOf(ids); len(ids) > 0 { // entries that we gave back are not suspects
			gone, err := r.take(ctx, ids, 1, redisio.ReleasedConsumer, b)
			if err == resp.ErrFront {
				r.suspect, r.recoverAt = true, redisio.ID{}
			} else if err != nil {
				r.distrust()
			} else {
				err = r.reviveTaken(ctx, without(ids, gone))
			}
			if len(b.Entries) > 0 {
				r.emit(redisio.Event{Kind: redisio.EventReclaimed, IDs: entryIDs(b.Entries)})
			}
			if err != nil {
				return err
			}
		}
		if err := r.shelveFound(ctx); err != nil {
			return err
		}
		if r.cursor == "0-0" {
			r.reclaim = r.nextReclaim()
			r.sweep = r.reclaim.Add((sweepEvery - 1) * r.cfg.ReclaimEvery)
			break
		}
		if len(b.Entries) > 0 {
			return nil // more may follow at once: r.reclaim is due still
		}
	}
	if len(b.Entries) == 0 && r.poolAt.IsZero() {
		return r.fromPool(ctx, count, b)
	}
	return nil
}

// shelveFound moves what reclaimIdle found to the pool of suspects, if it is still ours.
func (r *Group) shelveFound(ctx context.Context) error {
	if len(r.found) == 0 {
		return nil
	}
	if err := r.shelve(ctx, r.found, 0); err != nil {
		return err
	}
	r.found = nil
	return nil
}

// nextReclaim is when to look for entries without a lease, after there was none.
func (r *Group) nextReclaim() time.Time {
	return time.Now().Add(r.cfg.ReclaimEvery*9/10 + rand.N(r.cfg.ReclaimEvery/5+1))
}

// autoClaimed reads [cursor, [id…], [deleted id…]]. Before Redis 7 the third part is missing, and
// miniredis sends something else.
func autoClaimed(reply []any) (next string, ids []string, gone int, err error) {
	if len(reply) < 2 {
		return "", nil, 0, &resp.ReplyError{Offset: 0, Problem: "XAUTOCLAIM answered less than a cursor and a list"}
	}
	next, ok := reply[0].(string)
	list, ok2 := reply[1].([]any)
	if !ok || !ok2 {
		return "", nil, 0, &resp.ReplyError{Offset: 0, Problem: "XAUTOCLAIM answered no cursor or no list"}
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

func entryIDs(entries []redisio.Entry) []string {
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
