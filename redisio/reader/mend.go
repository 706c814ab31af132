package reader

import (
	"context"
	"math"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// mend puts what we hold, and what we gave back, into a group that was made again.
func (r *Group) mend(ctx context.Context) error {
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
	r.emit(
		redisio.Event{
			Kind:       redisio.EventGroupRecreated,
			Position:   r.last.get().String(),
			Count:      count,
			StreamGone: gone,
		},
	)
	return nil
}

// mendHeld restores what we hold, lapsed leases or not: nobody can have settled it since the group is there again.
func (r *Group) mendHeld(ctx context.Context) (int, error) {
	resume, err := r.held.Quiesce(ctx)
	if err != nil {
		return 0, err
	}
	sent := time.Now()
	ids := r.held.All()
	s, err := r.setIdleQuietly(ctx, r.held.Asks(ids, sent, math.MaxInt64))
	if err == nil {
		r.held.Renewed(s.restored, sent)
		r.held.Gone(s.gone)
	}
	resume()
	r.tell(s)
	if err == nil {
		r.Lose(s.lost)
	}
	return len(s.restored), err
}

// healed makes a lost group again while nobody reads, for a settlement that failed with err. That is Read's
// business, but a Read may not come before what is settled here has given its credits back. It
// reports whether to try again.
func (r *Group) healed(ctx context.Context, err error) bool {
	if fault.Judge(err) != fault.LostGroup {
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
