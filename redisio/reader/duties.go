package reader

import (
	"context"
	"errors"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// duty is one thing that Read does in a round.
type duty struct {
	name string
	// due returns when the duty is due. The zero time means in every round.
	due func(r *Group) time.Time
	run func(r *Group, ctx context.Context, count int, b *redisio.Batch) error
	old bool // its entries were delivered before
}

// groupDuties are the duties of a round, in their order. A round runs each duty that is due until
// one returns entries or an error. Reading new entries is always due: it blocks until the next
// timed duty.
//
// The order has three reasons. A lost group is restored before anything is read from it. After old
// entries a round tries new ones first, so an entry that always fails does not delay new ones
// forever. But no new entries are read while own entries may be lost, or while suspects wait.
var groupDuties = []duty{
	{name: "merge into the recreated group", due: (*Group).mergeDue, run: (*Group).merge},
	{name: "notice a deleted consumer", due: (*Group).noticeDue, run: (*Group).noticeDeleted},
	{name: "read new after old", due: (*Group).newFirstDue, run: (*Group).readNewFirst},
	{name: "restore after a loss", due: (*Group).restoreDue, run: (*Group).restore, old: true},
	{name: "move reclaimed to suspects", due: (*Group).foundDue, run: (*Group).moveFound, old: true},
	{name: "deliver suspects", due: (*Group).suspectsDue, run: (*Group).fromPool, old: true},
	{name: "redeliver delayed", due: (*Group).delayedDue, run: (*Group).redeliver, old: true},
	{name: "recover lost replies", due: (*Group).recoverDue, run: (*Group).recoverOwn, old: true},
	{name: "look into the pools", due: (*Group).poolDue, run: (*Group).fromPool, old: true},
	{name: "reclaim abandoned", due: (*Group).reclaimDue, run: (*Group).reclaimIdle, old: true},
	{name: "read new", due: always, run: (*Group).readNew},
}

// atMostOnceDuties are those of a reader that has no pending entries.
var atMostOnceDuties = []duty{groupDuties[0], groupDuties[len(groupDuties)-1]}

// never is later than any time that matters.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// when returns the time at which a duty is due that depends on a condition only.
func when(condition bool) time.Time {
	if condition {
		return time.Time{}
	}
	return never
}

func always(*Group) time.Time { return time.Time{} }

func (r *Group) mergeDue() time.Time { return when(r.needsMerge) }

func (r *Group) noticeDue() time.Time { return when(r.mustLook()) }

func (r *Group) newFirstDue() time.Time { return when(r.newFirst && !r.suspect && !r.paused) }

func (r *Group) restoreDue() time.Time { return when(r.wiped.Load()) }

func (r *Group) foundDue() time.Time { return when(len(r.found) > 0) }

// suspectsDue: all held entries are settled after a pause.
func (r *Group) suspectsDue() time.Time { return when(r.paused) }

func (r *Group) delayedDue() time.Time {
	now := time.Now()
	if in, ok := r.held.NextDue(now); ok {
		return now.Add(in)
	}
	return never
}

func (r *Group) recoverDue() time.Time {
	if r.suspect {
		return time.Time{}
	}
	return r.recheck
}

func (r *Group) poolDue() time.Time { return r.poolAt }

// reclaimDue: while reads use CLAIM, only trimmed entries are left to look for.
func (r *Group) reclaimDue() time.Time {
	if r.claims() {
		return r.sweepAt
	}
	return r.reclaimAt
}

// next returns when the next timed duty is due.
func (r *Group) next() time.Time {
	at := never
	for i := range r.duties {
		if due := r.duties[i].due(r); !due.IsZero() && due.Before(at) {
			at = due
		}
	}
	return at
}

// round returns what was read ahead, or else runs the duties that are due.
func (r *Group) round(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	if r.ahead.brought {
		return r.ahead.take(count, b)
	}
	r.bound(count, maxBytes)
	if !r.paused {
		r.endTurn()
	}
	return r.judge(r.runDuties(ctx, count, b), b)
}

// bound sets the bounds of the next replies.
func (r *Group) bound(count int, maxBytes int64) {
	r.maxBytes = maxBytes
	if r.most = conn.LimitFor(count, maxBytes); r.cfg.AtMostOnce { // the rest of a reply would be lost
		r.most = 0
	}
}

// judge decides what the error of a read that returned b means.
func (r *Group) judge(err error, b *redisio.Batch) error {
	switch {
	case errors.Is(err, resp.ErrFront): // the rest is pending for this consumer
		r.suspect, err = true, nil
	case err == nil, err == errPaused:
	case len(b.Entries) > 0: // a part of a reply, or a first reply before a failed second one
		r.suspect = true
	}
	if err == nil || err == errPaused {
		r.recreations = 0
	}
	return err
}

func (r *Group) runDuties(ctx context.Context, count int, b *redisio.Batch) error {
	for i := range r.duties {
		d := &r.duties[i]
		if due := d.due(r); !due.IsZero() && time.Now().Before(due) {
			continue
		}
		if err := d.run(r, ctx, count, b); err != nil || len(b.Entries) > 0 {
			if d.old {
				r.newFirst = err == nil
			}
			return err
		}
	}
	return nil
}

// failed decides what the error of a round means.
func (r *Group) failed(ctx context.Context, err error) error {
	if gone := fault.Ended(ctx); gone != nil {
		r.distrust()
		return gone
	}
	if fault.IsUnblocked(err) { // the stream was deleted, or its slot has moved: the next read tells
		return nil
	}
	if fault.Judge(err) == fault.LostGroup {
		if err = r.heal(ctx); err == nil {
			// If the group is deleted again and again, wait from the second time on.
			if r.recreations++; r.recreations > 1 {
				r.notBefore = time.Now().Add(fault.Backoff(r.recreations))
			}
			return nil
		}
	}
	r.held.Broke(time.Now())
	if fault.Judge(err) == fault.Broken {
		r.distrust()
	}
	return r.retry(err, r.wire, &r.reading)
}

func (r *Group) merge(ctx context.Context, _ int, _ *redisio.Batch) error { return r.restoreAll(ctx) }

// noticeDeleted precedes all commands that would recreate a deleted consumer.
func (r *Group) noticeDeleted(ctx context.Context, _ int, _ *redisio.Batch) error {
	return r.look(ctx, r.reading)
}

func (r *Group) restore(ctx context.Context, _ int, _ *redisio.Batch) error {
	return r.restoreRest(ctx)
}

func (r *Group) moveFound(ctx context.Context, _ int, _ *redisio.Batch) error {
	return r.shelveFound(ctx)
}

// readNewFirst reads new entries without waiting for them.
func (r *Group) readNewFirst(ctx context.Context, count int, b *redisio.Batch) error {
	r.newFirst = false
	return r.fresh(ctx, count, b, time.Time{})
}

func (r *Group) readNew(ctx context.Context, count int, b *redisio.Batch) error {
	return r.fresh(ctx, count, b, r.next())
}
