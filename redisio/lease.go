package redisio

import (
	"context"
	"slices"
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
		var err error
		if !r.cfg.NoAck {
			err = r.renew(ctx, start)
		}
		trip := err
		if err == nil {
			trip = r.locate(ctx)
		}
		r.askTime(ctx)
		r.health.kept(trip)
		if err != nil && !failed {
			r.emit(Event{Kind: EventRenewFailed, Err: err, Wait: every / 4})
		}
		failed = err != nil
		if r.cfg.ReapAfter > 0 && !r.cfg.NoAck && !failed && start.After(reap) {
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

// renew renews what was not renewed lately, and looks after what is parked.
func (r *GroupReader) renew(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	defer r.held.raise()
	doubts, _ := r.held.parkedWhere(func(p parked) bool { return p.doubt })
	since := now.Add(-r.cfg.Lease / 6)
	if len(doubts) > 0 {
		since = now // look at all
	}
	err := r.look(ctx, r.control)
	if err == nil {
		err = r.renewHeld(ctx, now, since)
	}
	if err == nil {
		err = r.renewParked(ctx, now)
	}
	if judge(err) == lostGroup {
		return nil // the group is gone, nobody took our entries: Read makes it again, with them
	}
	if err != nil {
		return err
	}
	if r.wiped.Swap(false) {
		if _, err := r.restoreParked(ctx); err != nil {
			r.wiped.Store(true)
			return err
		}
		return nil
	}
	r.held.unpark(doubts) // what must be there is there: they were taken and finished by others
	return nil
}

// askTime keeps the clock right where nothing is read.
func (r *GroupReader) askTime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	_ = r.clock.Ask(ctx, r.control) // what is read tells as well
}

// locate asks how far the group has been delivered, for a reader that gets nothing to know where to go on after a loss.
func (r *GroupReader) locate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	version := r.last.version()
	at, err := r.position(ctx, r.control)
	if judge(err) == lostGroup {
		return nil // Read finds out
	}
	if err == nil {
		r.last.asked(at, version)
	}
	return err
}

func (r *GroupReader) renewHeld(ctx context.Context, now, since time.Time) error {
	ids := r.held.stale(since)
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), pageSize)]
		ids = ids[len(chunk):]
		asks := make([]ask, len(chunk)) // idle 0 is what renewing is
		for i := range chunk {
			asks[i].id = chunk[i]
		}
		s, err := r.setIdle(ctx, asks)
		if err != nil {
			return err
		}
		good := chunk
		if absent := s.absent(); len(absent) > 0 {
			slices.Sort(absent)
			good = slices.DeleteFunc(slices.Clone(chunk), func(id string) bool {
				_, is := slices.BinarySearch(absent, id)
				return is
			})
		}
		r.held.renewed(good, now)
		r.held.gone(s.gone)
		r.lose(s.lost)
		if err := r.revive(ctx, s.nobody); err != nil {
			return err
		}
		// What was nacked or released while the renewal was under way has lost its idle time to it.
		if err := r.repark(ctx, chunk, now); err != nil {
			return err
		}
	}
	return nil
}

func (r *GroupReader) repark(ctx context.Context, ids []string, now time.Time) error {
	given, how := r.held.parkedOf(ids)
	asks := make([]ask, len(how))
	for i, p := range how {
		asks[i].id = given[i]
		r.askFor(&asks[i], now, p)
	}
	_, err := r.setIdle(ctx, asks)
	return err
}

// renewParked looks whether entries that nobody else may have yet are still there, and sets the
// idle time of those nacked for longer than the lease anew, so that they fall due on the server
// when they should, or at most one lease later than this process dies.
func (r *GroupReader) renewParked(ctx context.Context, now time.Time) error {
	ms := ticks(now)
	ids, how := r.held.parkedWhere(func(p parked) bool { return !p.doubt && p.until > ms })
	asks, open := make([]ask, len(ids)), make([]int64, len(ids))
	for i, p := range how {
		asks[i].id = ids[i]
		open[i] = r.askFor(&asks[i], now, p)
		if ms < p.open {
			asks[i].n = p.n
		}
	}
	s, err := r.setIdle(ctx, asks)
	if err != nil {
		return err
	}
	r.held.reopen(asks, open)
	r.held.unpark(slices.Concat(s.lost, s.gone, s.ahead))
	r.held.doubt(s.nobody)
	return nil
}

// askFor fills in the idle time with which any reader can take a parked entry when it is due, or
// after a lease if that is sooner. It returns that time. An entry for other readers goes to their
// pool as soon as an idle time there can express when it is due.
func (r *GroupReader) askFor(a *ask, now time.Time, p parked) (open int64) {
	lease, due := r.cfg.Lease.Milliseconds(), r.dueIdle().Milliseconds()
	d := p.until - ticks(now)
	switch {
	case p.suspect:
		a.free = 2
	case !p.released || d > due:
		d = min(d, lease)
		a.idle = lease - max(d, 0)
	case d > 0:
		a.free, a.idle = 1, due-d
	default:
		a.free, a.idle = 1, lease
	}
	return ticks(now) + d
}

// lose drops entries that are somebody else's now and says so.
func (r *GroupReader) lose(ids []string) { r.lost(r.held.lose(ids)) }

// lost says which entries were dropped. Whoever is told may settle others, so nothing may wait for that to end.
func (r *GroupReader) lost(ids []string) {
	if len(ids) == 0 { // settled meanwhile: not lost
		return
	}
	r.emit(Event{Kind: EventLeaseLost, IDs: ids})
	if r.cfg.OnLost != nil {
		notify("GroupConfig.OnLost", func() { r.cfg.OnLost(ids) })
	}
}

// reap deletes consumers of the past. Errors don't matter: there is a next time.
func (r *GroupReader) reap(ctx context.Context) {
	n, _ := reap(ctx, r.control, r.cfg.Key, r.cfg.Group, r.cfg.Consumer, r.cfg.ReapAfter)
	if n > 0 {
		r.emit(Event{Kind: EventReaped, Count: int(n)})
	}
}
