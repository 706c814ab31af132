package reader

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// scans is the number of XAUTOCLAIM calls of one round. Each looks at ten times its COUNT.
const scans = 10

// ownSearch is the search for entries that are pending for this consumer and not held.
type ownSearch struct {
	suspect   bool       // there may be such entries
	former    bool       // they belong to an earlier run, so their delivery failed
	recoverAt redisio.ID // where the search continues
	recheck   time.Time  // when to search again, or never: a dead connection may still receive entries
}

// idleSearch is the search for entries of any consumer without a lease.
type idleSearch struct {
	reclaimAt time.Time // when to search
	sweepAt   time.Time // the same while reads use CLAIM: only for trimmed entries
	cursor    string    // where the search continues
	found     []string  // its results, until they are moved to the suspects
}

// distrust records that a reply may be lost. The server may not have noticed yet that the
// connection is dead, and may deliver to it until its BLOCK ends. So a second search follows then.
func (r *fetcher) distrust() {
	if r.cfg.AtMostOnce {
		return
	}
	r.suspect, r.recoverAt = true, redisio.ID{}
	r.recheck = time.Now().Add(r.cfg.Block + time.Second)
}

// restart makes both searches start again, in a recreated group.
func (r *fetcher) restart() { r.cursor, r.recoverAt = "0-0", redisio.ID{} }

// recoverOwn returns entries that are pending for this consumer and not held, because the reply with
// them was lost. A history read would count a delivery of all other pending entries as well.
//
// An entry that was settled while the list of pending ones arrived is no longer held, but listed. It
// was held before, so it does not belong to these entries. The list comes on the connection that
// takes the entries: for some seconds after a failover there may be two masters, and an old one
// lists settled entries. Such entries would seem lost, and would be restored and delivered again.
func (r *fetcher) recoverOwn(ctx context.Context, count int, b *redisio.Batch) error {
	if !time.Now().Before(r.recheck) {
		r.suspect, r.recheck = true, never
	}
	known := r.held.Known()
	for {
		page, last, err := r.ownPending(ctx, r.wire, r.reading, r.recoverAt)
		if err != nil {
			return err
		}
		n := len(page)
		page = slices.DeleteFunc(page, func(p redis.XPendingExt) bool { return known(p.ID) })
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

// shelveOwn sorts a page of entries that are pending for this consumer. It returns those that are
// not held and were never seen. Others that are not held were delivered before: to an earlier run,
// or by a take that lost its reply. shelveOwn moves these to the suspects.
func (r *fetcher) shelveOwn(ctx context.Context, page []redis.XPendingExt) (unseen []string, err error) {
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

// reclaimIdle searches for entries with an expired lease. XAUTOCLAIM moves them to this consumer
// without counting a delivery, page by page. reclaimIdle moves them to the suspects and takes the
// first group. If the connection breaks in between, recoverOwn finds them.
func (r *fetcher) reclaimIdle(ctx context.Context, count int, b *redisio.Batch) error {
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
		r.emitCount(redisio.EventTrimmed, gone)
		r.found = r.held.Strangers(slices.Clone(ids))
		if ids, _ = r.held.DelayedOf(ids); len(ids) > 0 { // released by this reader: not suspects
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
			r.reclaimAt = r.nextReclaim()
			r.sweepAt = r.reclaimAt.Add((sweepEvery - 1) * r.cfg.ReclaimEvery)
			break
		}
		if len(b.Entries) > 0 {
			return nil // reclaimAt is still due: more may follow
		}
	}
	if len(b.Entries) == 0 && !time.Now().Before(r.poolAt) {
		return r.fromPool(ctx, count, b)
	}
	return nil
}

// shelveFound moves the results of reclaimIdle to the suspects, if they are still pending for this
// consumer.
func (r *fetcher) shelveFound(ctx context.Context) error {
	if len(r.found) == 0 {
		return nil
	}
	if err := r.shelve(ctx, r.found, 0); err != nil {
		return err
	}
	r.found = nil
	return nil
}

// reviveTaken restores entries that were pending for this consumer when they were listed, and are not
// any more. The next search finds them.
func (r *fetcher) reviveTaken(ctx context.Context, ids []string) error {
	if ids = r.held.Unknown(ids); len(ids) == 0 {
		return nil
	}
	asks := make([]held.Ask, len(ids))
	for i := range asks {
		asks[i] = held.Ask{Id: ids[i], N: 1}
	}
	s, err := r.setIdle(ctx, asks)
	if len(s.restored) > 0 || err != nil {
		r.distrust()
	}
	return err
}

// nextReclaim returns the time of the next search for entries without a lease.
func (r *fetcher) nextReclaim() time.Time {
	return time.Now().Add(r.cfg.ReclaimEvery*9/10 + rand.N(r.cfg.ReclaimEvery/5+1))
}

// autoClaimed parses [cursor, [id…], [deleted id…]]. Before Redis 7 the third part is missing, and
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

// without returns a copy of ids that lacks some.
func without(ids, some []string) []string {
	if len(some) == 0 {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(some, id) })
}
