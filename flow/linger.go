package flow

import (
	"context"
	"sync/atomic"
	"time"
)

// linger is a source's wait for what it read last to settle, see Linger.
type linger struct {
	last *slab         // read last; the reading goroutine's
	skip int           // reads that don't wait; likewise
	on   atomic.Bool   // somebody waits
	told chan struct{} // holds a token when something may have settled
}

// lingerSkips is how many reads don't wait after one that waited in vain.
const lingerSkips = 32

func newLinger() linger { return linger{told: make(chan struct{}, 1)} }

// tell says that entries have settled.
func (l *linger) tell() {
	if !l.on.Load() {
		return
	}
	select {
	case l.told <- struct{}{}:
	default:
	}
}

// wait waits until the last chunk is settled, at most d, or until ctx is done.
func (l *linger) wait(ctx context.Context, d time.Duration) {
	sl := l.last
	if d <= 0 || sl == nil || len(sl.cells) == 1 {
		return
	}
	if l.skip > 0 {
		l.skip--
		return
	}
	l.on.Store(true)
	defer l.on.Store(false)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !sl.isSettled() {
		select {
		case <-l.told:
		case <-timer.C:
			l.skip = lingerSkips
			return
		case <-ctx.Done():
			return
		}
	}
}

// isSettled reports that all leases of a slab are.
func (s *slab) isSettled() bool {
	for i := len(s.cells) - 1; i >= 0; i-- {
		if s.cells[i].more.Load() > settled {
			return false
		}
	}
	return true
}
