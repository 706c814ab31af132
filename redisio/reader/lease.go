package reader

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// leases keeps the entries of a consumer pending for it: it renews their leases, restores entries
// that the pending list lost, and gives up those that another consumer has taken.
type leases struct {
	*consumer
	looking sync.Mutex  // so that the second look knows what the first has seen
	wiped   atomic.Bool // own entries were missing in the pending list: others may be missing too
	blind   atomic.Bool // the user has no right for look

	// taking is a token. Delayed entries are taken from the server, or checked there, but never both
	// at a time. Otherwise an entry that is taken and settled during a check would be restored by it.
	taking chan struct{}
}

// renew renews the leases that were not renewed lately, and checks the delayed entries.
func (r *leases) renew(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	defer r.held.Raise()
	doubts, _ := r.held.WaitingWhere(func(p held.Record) bool { return p.State == held.Doubtful })
	since := now.Add(-r.cfg.Lease / 6)
	if len(doubts) > 0 {
		since = now // renew all
	}
	err := r.look(ctx, r.control)
	if err == nil {
		err = r.renewHeld(ctx, now, since)
	}
	if err == nil {
		err = r.renewDelayed(ctx, now)
	}
	if fault.Judge(err) == fault.LostGroup {
		return nil // no other consumer has the entries; Read recreates the group with them
	}
	if err != nil {
		return err
	}
	if r.wiped.Load() {
		return r.restoreRest(ctx)
	}
	r.held.Move(doubts, held.Absent) // the pending list is complete, so other consumers have finished them
	return nil
}

// renewHeld renews the leases that were last renewed before since.
func (r *leases) renewHeld(ctx context.Context, now, since time.Time) error {
	ids := r.held.Stale(since)
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), script.PageSize)]
		ids = ids[len(chunk):]
		asks := make([]held.Ask, len(chunk)) // idle time 0 renews
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
		r.held.Gone(s.deleted)
		r.lose(s.lost)
		if err := r.revive(ctx, s.unowned); err != nil {
			return err
		}
		// The renewal has reset the idle time of entries that were nacked or released meanwhile.
		if err := r.redelay(ctx, chunk, now); err != nil {
			return err
		}
	}
	return nil
}

// redelay sets the idle time of those entries that are delayed.
func (r *leases) redelay(ctx context.Context, ids []string, now time.Time) error {
	_, err := r.whileNotTaken(ctx, func() (claimResult, error) {
		given, how := r.held.DelayedOf(ids)
		asks := make([]held.Ask, len(how))
		for i, p := range how {
			asks[i].Id = given[i]
			r.askFor(&asks[i], now, p)
		}
		return r.setIdleQuietly(ctx, asks)
	})
	return err
}

// whileNotTaken calls check while no entries are taken, and reports its result. It does nothing if no
// entry is delayed.
func (r *leases) whileNotTaken(ctx context.Context, check func() (claimResult, error)) (s claimResult, err error) {
	if r.held.Waiting() == 0 {
		return s, nil
	}
	done, err := r.beginTaking(ctx)
	if err != nil {
		return s, err
	}
	s, err = check()
	done()
	r.report(s)
	return s, err
}

// beginTaking waits for the token taking. done returns it.
func (r *leases) beginTaking(ctx context.Context) (done func(), err error) {
	select {
	case r.taking <- struct{}{}:
		return func() { <-r.taking }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// renewDelayed checks that delayed entries which no other reader may take yet are still pending.
// For those nacked for longer than the lease it sets the idle time. So other readers can take them
// when they are due, or at most one lease after this process dies.
func (r *leases) renewDelayed(ctx context.Context, now time.Time) error {
	_, err := r.whileNotTaken(ctx, func() (claimResult, error) { return r.checkDelayed(ctx, now) })
	return err
}

func (r *leases) checkDelayed(ctx context.Context, now time.Time) (claimResult, error) {
	ms := held.Ticks(now)
	ids, how := r.held.WaitingWhere(func(p held.Record) bool { return p.State != held.Doubtful && p.Until > ms })
	asks, open := make([]held.Ask, len(ids)), make([]int64, len(ids))
	for i, p := range how {
		asks[i].Id = ids[i]
		open[i] = r.askFor(&asks[i], now, p)
		if ms < p.Open {
			asks[i].N = p.N
		}
	}
	s, err := r.setIdleQuietly(ctx, asks)
	if err != nil {
		return s, err
	}
	r.held.Reopen(ids, open)
	r.held.Move(slices.Concat(s.lost, s.deleted, s.redeliverable), held.Absent)
	r.held.Move(s.unowned, held.Doubted)
	return s, nil
}

// askFor sets the idle time with which any reader can take a delayed entry when it is due, or after
// a lease if that is sooner. It returns that time. An entry for other readers moves to their pool as
// soon as an idle time there can express when it is due.
func (r *leases) askFor(a *held.Ask, now time.Time, p held.Record) (open int64) {
	lease, due := r.cfg.Lease.Milliseconds(), r.dueIdle().Milliseconds()
	d := p.Until - held.Ticks(now)
	switch {
	case p.State == held.Suspect:
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

// lose drops entries that another consumer has taken, and reports them.
func (r *leases) lose(ids []string) { r.tellLost(r.held.Move(ids, held.TakenOver)) }

// tellLost reports entries that were dropped. The receivers may settle other entries, so no settling
// may be paused.
func (r *leases) tellLost(ids []string) {
	if len(ids) == 0 { // all were settled meanwhile
		return
	}
	r.emit(redisio.Event{Kind: redisio.EventLeaseLost, IDs: ids})
	if r.cfg.OnLost != nil {
		fault.Notify("GroupConfig.OnLost", func() { r.cfg.OnLost(ids) })
	}
}
