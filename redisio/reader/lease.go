package reader

import (
	"context"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// keep renews the leases of held entries until the reader is closed.
func (r *Group) keep() {
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
			err = r.Renew(ctx, start)
		}
		trip := err
		if err == nil {
			trip = r.locate(ctx)
		}
		r.askTime(ctx)
		r.health.kept(trip)
		if err != nil && !failed {
			r.emit(redisio.Event{Kind: redisio.EventRenewFailed, Err: err, Wait: every / 4})
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

// Renew renews what was not renewed lately, and looks after what is parked.
func (r *Group) Renew(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	defer r.held.Raise()
	doubts, _ := r.held.ParkedWhere(func(p held.Parked) bool { return p.Doubt })
	since := now.Add(-r.cfg.Lease / 6)
	if len(doubts) > 0 {
		since = now // look at all
	}
	err := r.Look(ctx, r.control)
	if err == nil {
		err = r.renewHeld(ctx, now, since)
	}
	if err == nil {
		err = r.renewParked(ctx, now)
	}
	if fault.Judge(err) == fault.LostGroup {
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
	r.held.Unpark(doubts) // what must be there is there: they were taken and finished by others
	return nil
}

// askTime keeps the clock right where nothing is read.
func (r *Group) askTime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	_ = r.clock.Ask(ctx, r.control) // what is read tells as well
}

// locate asks how far the group has been delivered, for a reader that gets nothing to know where to go on after a loss.
func (r *Group) locate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	version := r.last.version()
	at, err := r.position(ctx, r.control)
	if fault.Judge(err) == fault.LostGroup {
		return nil // Read finds out
	}
	if err == nil {
		r.last.asked(at, version)
	}
	return err
}

func (r *Group) renewHeld(ctx context.Context, now, since time.Time) error {
	ids := r.held.Stale(since)
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), script.PageSize)]
		ids = ids[len(chunk):]
		asks := make([]held.Ask, len(chunk)) // idle 0 is what renewing is
		for i := range chunk {
			asks[i].Id = chunk[i]
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
		r.held.Renewed(good, now)
		r.held.Gone(s.gone)
		r.Lose(s.lost)
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

func (r *Group) repark(ctx context.Context, ids []string, now time.Time) error {
	given, how := r.held.ParkedOf(ids)
	asks := make([]held.Ask, len(how))
	for i, p := range how {
		asks[i].Id = given[i]
		r.askFor(&asks[i], now, p)
	}
	_, err := r.setIdle(ctx, asks)
	return err
}

// renewParked looks whether entries that nobody else may have yet are still there, and sets the
// idle time of those nacked for longer than the lease anew, so that they fall due on the server
// when they should, or at most one lease later than this process dies.
func (r *Group) renewParked(ctx context.Context, now time.Time) error {
	ms := held.Ticks(now)
	ids, how := r.held.ParkedWhere(func(p held.Parked) bool { return !p.Doubt && p.Until > ms })
	asks, open := make([]held.Ask, len(ids)), make([]int64, len(ids))
	for i, p := range how {
		asks[i].Id = ids[i]
		open[i] = r.askFor(&asks[i], now, p)
		if ms < p.Open {
			asks[i].N = p.N
		}
	}
	s, err := r.setIdle(ctx, asks)
	if err != nil {
		return err
	}
	r.held.Reopen(asks, open)
	r.held.Unpark(slices.Concat(s.lost, s.gone, s.ahead))
	r.held.Doubt(s.nobody)
	return nil
}

// askFor fills in the idle time with which any reader can take a parked entry when it is due, or
// after a lease if that is sooner. It returns that time. An entry for other readers goes to their
// pool as soon as an idle time there can express when it is due.
func (r *Group) askFor(a *held.Ask, now time.Time, p held.Parked) (open int64) {
	lease, due := r.cfg.Lease.Milliseconds(), r.dueIdle().Milliseconds()
	d := p.Until - held.Ticks(now)
	switch {
	case p.Suspect:
		a.Free = 2
	case !p.Released || d > due:
		d = min(d, lease)
		a.Idle = lease - max(d, 0)
	case d > 0:
		a.Free, a.Idle = 1, due-d
	default:
		a.Free, a.Idle = 1, lease
	}
	return held.Ticks(now) + d
}

// Lose drops entries that are somebody else's now and says so.
func (r *Group) Lose(ids []string) { r.Lost(r.held.Lose(ids)) }

// Lost says which entries were dropped. Whoever is told may settle others, so nothing may wait for that to end.
func (r *Group) Lost(ids []string) {
	if len(ids) == 0 { // settled meanwhile: not lost
		return
	}
	r.emit(redisio.Event{Kind: redisio.EventLeaseLost, IDs: ids})
	if r.cfg.OnLost != nil {
		fault.Notify("GroupConfig.OnLost", func() { r.cfg.OnLost(ids) })
	}
}

// reap deletes consumers of the past. Errors don't matter: there is a next time.
func (r *Group) reap(ctx context.Context) {
	n, _ := script.Reap(ctx, r.control, r.cfg.Key, r.cfg.Group, r.cfg.Consumer, r.cfg.ReapAfter)
	if n > 0 {
		r.emit(redisio.Event{Kind: redisio.EventReaped, Count: int(n)})
	}
}
