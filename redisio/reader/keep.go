package reader

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// keeper runs the background goroutines of an open Group.
type keeper struct {
	*leases
	loop    *loop // health and stop
	keeping sync.WaitGroup
}

func (r *keeper) start() {
	r.keeping.Go(r.keep)
	r.keeping.Go(r.present)
	if r.cfg.DelayedEvery > 0 {
		r.keeping.Go(r.moveScheduled)
	}
}

// kept returns a channel that is closed after all goroutines have ended.
func (r *keeper) kept() <-chan struct{} {
	kept := make(chan struct{})
	go func() { // ends with the last renewal, at the latest when Close closes its connection
		r.keeping.Wait()
		close(kept)
	}()
	return kept
}

// keep renews the leases of held entries until the reader is closed.
func (r *keeper) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	every := r.cfg.Lease / 3
	tick := time.NewTimer(every)
	defer tick.Stop()
	reap := time.Now().Add(r.cfg.ReapAfter / 4)
	failed := false
	for {
		select {
		case <-r.loop.stop:
			return
		case <-tick.C:
		}
		start := time.Now()
		var err error
		if !r.cfg.AtMostOnce {
			err = r.renew(ctx, start)
		}
		trip := err
		if err == nil {
			trip = r.locate(ctx)
		}
		r.askTime(ctx)
		r.loop.health.kept(trip)
		if err != nil && !failed {
			r.emit(redisio.Event{Kind: redisio.EventRenewFailed, Err: err, Wait: every / 4})
		}
		failed = err != nil
		if r.cfg.ReapAfter > 0 && !r.cfg.AtMostOnce && !failed && start.After(reap) {
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

// askTime keeps the clock right while nothing is read.
func (r *keeper) askTime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	_ = r.clock.Ask(ctx, r.control) // entries tell the time as well
}

// locate asks for the position of the group, so that a reader without new entries knows where to
// continue after a loss.
func (r *keeper) locate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	version := r.last.version()
	at, err := r.delivered(ctx, r.control)
	if fault.Judge(err) == fault.LostGroup {
		return nil // Read recreates it
	}
	if err == nil {
		r.last.asked(at, version)
	}
	return err
}

// reap deletes consumers of dead readers. It ignores errors, because it runs again.
func (r *keeper) reap(ctx context.Context) {
	n, _ := script.Reap(ctx, r.control, r.cfg.Key, r.cfg.Group, r.cfg.Consumer, r.cfg.ReapAfter)
	if n > 0 {
		r.emit(redisio.Event{Kind: redisio.EventReaped, Count: int(n)})
	}
}

// AliveFor is the longest idle time of a live Group's consumer in XINFO CONSUMERS. If it is idle
// for longer, its reader was killed, hangs, or cannot reach Redis.
const AliveFor = 6 * time.Second

// presentEvery is how often a reader resets the idle time of its consumer.
const presentEvery = AliveFor / 3

// nowhere is an ID behind all entries.
const nowhere = "18446744073709551615-0"

// present resets the idle time of the consumer until the reader is closed.
//
// Idea: before Redis 7.2 a blocked read does not reset the idle time, and a busy reader does not read
// at all. Reading pending entries behind all entries resets the time on all servers, and changes
// nothing else.
func (r *keeper) present() {
	tick := time.NewTicker(presentEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.loop.stop:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), presentEvery/2)
		r.control.XReadGroup(ctx, &redis.XReadGroupArgs{Group: r.cfg.Group, Consumer: r.cfg.Consumer,
			Streams: []string{r.cfg.Key, nowhere}, Count: 1, Block: -1}) // the next tick tries again
		cancel()
	}
}

// idleMoving is the interval at which a reader looks for scheduled entries while the schedule is
// empty. A scheduler usually moves its own entries, so this matters only if it dies at once.
const idleMoving = 5 * time.Second

// moveScheduled moves the due entries that are scheduled for the stream, so that they arrive while
// any reader runs. It starts after a random delay, so that readers that start together do not all
// look.
func (r *keeper) moveScheduled() {
	every := r.cfg.DelayedEvery
	cfg := schedule.Config{Key: r.cfg.Key, Every: every, Idle: max(every, idleMoving), OnEvent: r.emit}
	s, err := schedule.New(r.control, cfg)
	if err != nil {
		return // nothing can be scheduled for such a key
	}
	if !fault.Sleep(context.Background(), r.loop.stop, rand.N(min(every, time.Second))) {
		return
	}
	mover := s.Keep(func(err error) { r.emit(redisio.Event{Kind: redisio.EventMoveFailed, Err: err}) })
	select {
	case <-r.loop.stop:
	case <-mover.Done():
	}
	_ = mover.Stop() // it has reported its error
}
