package redisio

import (
	"context"
	"math/rand/v2"
	"time"
)

// idleMoving is how often a reader looks for scheduled entries while there are none. Who schedules
// one is a mover as well, as a rule: this is for when it dies at once.
const idleMoving = 5 * time.Second

// moveScheduled makes the reader a mover of what is scheduled for its stream, so that it comes as
// long as anybody reads. The first look is not at once: a group of readers that start together need
// not all look.
func (r *GroupReader) moveScheduled() {
	every := r.cfg.DelayedEvery
	cfg := ScheduleConfig{Key: r.cfg.Key, Every: every, Idle: max(every, idleMoving), OnEvent: r.emit}
	s, err := NewScheduler(r.control, cfg)
	if err != nil {
		return // a key beside which nothing can be scheduled
	}
	if !sleep(context.Background(), r.stop, rand.N(min(every, time.Second))) {
		return
	}
	mover := s.Keep(func(err error) { r.emit(Event{Kind: EventMoveFailed, Err: err}) })
	select {
	case <-r.stop:
	case <-mover.Done():
	}
	_ = mover.Stop() // it has told
}
