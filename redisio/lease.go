package redisio

import (
	"context"
	"time"
)

// keep renews the leases of held entries until the reader is closed.
func (r *GroupReader) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	every := r.cfg.Lease / 3
	tick := time.NewTimer(every)
	defer tick.Stop()
	reap := time.Now().Add(r.cfg.ReapAfter / 4)
	failed := false
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		start := time.Now()
		err := r.renew(ctx, start)
		if err != nil && !failed {
			r.emit(Event{Kind: EventRenewFailed, Err: err, Wait: every / 4})
		}
		failed = err != nil
		if r.cfg.ReapAfter > 0 && !failed && start.After(reap) {
			reap = start.Add(r.cfg.ReapAfter / 4)
			r.reap(ctx)
		}
		next := every
		if failed {
			next = every / 4
		}
		tick.Reset(max(time.Millisecond, next-time.Since(start)))
	}
}

// renew renews what was not renewed lately, and re-parks what is parked beyond the lease.
func (r *GroupReader) renew(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	ids := r.held.stale(now.Add(-r.cfg.Lease / 6))
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), pageSize)]
		ids = ids[len(chunk):]
		zero := make([]int64, len(chunk)) // idle 0 is what renewing is
		lost, err := r.setIdle(ctx, chunk, zero)
		if judge(err) == lostGroup {
			return nil // the group is gone, nobody took our entries: Read makes it again, with them
		}
		if err != nil {
			return err
		}
		r.held.renewed(chunk, now)
		r.lose(lost)
		// What was nacked or released while the renewal was under way has lost its idle time to it.
		if err := r.repark(ctx, chunk, now); err != nil {
			return err
		}
	}
	return r.renewParked(ctx, now)
}

func (r *GroupReader) repark(ctx context.Context, ids []string, now time.Time) error {
	given, how := r.held.parkedOf(ids)
	idle := make([]int64, len(how))
	for i, p := range how {
		idle[i] = r.idleFor(fromTicks(p.due).Sub(now))
		if p.released {
			idle[i] = r.cfg.Lease.Milliseconds()
		}
	}
	_, err := r.setIdle(ctx, given, idle)
	return err
}

// renewParked sets the idle time of entries nacked for longer than the lease anew, so that they fall
// due on the server when they should, or at most one lease later than this process dies.
func (r *GroupReader) renewParked(ctx context.Context, now time.Time) error {
	ids, due := r.held.farParked(now.Add(r.cfg.Lease / 3))
	for n := 0; n < len(ids); n += pageSize {
		chunk, at := ids[n:min(n+pageSize, len(ids))], due[n:min(n+pageSize, len(ids))]
		for i := range at {
			at[i] = r.idleFor(fromTicks(at[i]).Sub(now))
		}
		lost, err := r.setIdle(ctx, chunk, at)
		if err != nil {
			return err
		}
		r.held.unpark(lost)
	}
	return nil
}

// idleFor is the idle time with which an entry falls due in d: its lease has run out then.
func (r *GroupReader) idleFor(d time.Duration) int64 {
	return max(0, (r.cfg.Lease - max(d, 0)).Milliseconds())
}

// lose drops entries that are somebody else's now and says so.
func (r *GroupReader) lose(ids []string) {
	if ids = r.held.lost(ids); len(ids) == 0 { // settled meanwhile: not lost
		return
	}
	r.held.remove(ids)
	r.emit(Event{Kind: EventLeaseLost, IDs: ids})
	if r.cfg.OnLost != nil {
		r.cfg.OnLost(ids)
	}
}

// reap deletes consumers of the past. Errors don't matter: there is a next time.
func (r *GroupReader) reap(ctx context.Context) {
	n, err := r.control.Eval(ctx, scriptReap, []string{r.cfg.Key}, r.cfg.Group, r.cfg.Consumer, r.cfg.ReapAfter.Milliseconds()).Int()
	if err == nil && n > 0 {
		r.emit(Event{Kind: EventReaped, Count: n})
	}
}
