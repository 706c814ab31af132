package reader

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// idleMoving is how often a reader looks for scheduled entries while there are none. Who schedules
// one is a mover as well, as a rule: this is for when it dies at once.
const idleMoving = 5 * time.Second

// moveScheduled makes the reader a mover of what is scheduled for its stream, so that it comes as
// long as anybody reads. The first look is not at once: a group of readers that start together need
// not all look.
func (r *Group) moveScheduled() {
	every := r.cfg.DelayedEvery
	cfg := schedule.Config{Key: r.cfg.Key, Every: every, Idle: max(every, idleMoving), OnEvent: r.emit}
	s, err := schedule.New(r.control, cfg)
	if err != nil {
		return // a key beside which nothing can be scheduled
	}
	if !fault.Sleep(context.Background(), r.stop, rand.N(min(every, time.Second))) {
		return
	}
	mover := s.Keep(func(err error) { r.emit(redisio.Event{Kind: redisio.EventMoveFailed, Err: err}) })
	select {
	case <-r.stop:
	case <-mover.Done():
	}
	_ = mover.Stop() // it has told
}
