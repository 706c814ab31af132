package schedule

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// Move moves due entries to the stream, at most Count of them and about a MiB. It returns their
// number and the time until the next entry is due: zero if one is due already, negative if none
// is scheduled. Movers call it; use it to choose the time yourself.
func (s *Scheduler) Move(ctx context.Context) (moved int, next time.Duration, err error) {
	reply, err := s.rdb.Eval(ctx, scriptMove, s.keys, s.cfg.Count, scheduleBytes, movedFor.Milliseconds(), movedMost).
		Int64Slice()
	if err == nil && len(reply) != 2 {
		err = &resp.ReplyError{Offset: 0, Problem: "the script answered something else than two numbers"}
	}
	if err != nil {
		return 0, 0, check.KeyError("move scheduled entries of", s.cfg.Key, err)
	}
	return int(reply[0]), time.Duration(min(reply[1], math.MaxInt64/int64(time.Millisecond))) * time.Millisecond, nil
}

// toldAfter is the number of failures in a row that is reported. Ten more are reported again.
const toldAfter = 6

// Run is a mover: it moves entries when they are due until ctx ends, and returns the cause. It
// sleeps until the next entry is due, at most Every, because another process may have scheduled
// an earlier one. Scheduling with this Scheduler wakes it. While Redis is unreachable, or refuses
// after a success (see [redisio.RefusedFor]), it retries with backoff. Only a *PermanentError
// ends it before ctx does.
func (s *Scheduler) Run(ctx context.Context) error {
	fails := 0
	var answers redisio.Patience
	for ctx.Err() == nil {
		moved, next, err := s.Move(ctx)
		if err = answers.Look(err); err == nil {
			answers.Worked()
		}
		var wait time.Duration
		switch {
		case err != nil && ctx.Err() != nil:
		case redisio.IsPermanent(err):
			return err
		case err != nil:
			fails++
			wait = fault.Backoff(fails)
			if fails%10 == toldAfter && s.cfg.OnEvent != nil {
				e := redisio.Event{Kind: redisio.EventMoveFailed, Key: s.cfg.Key, Err: err, Wait: wait}
				fault.Notify("schedule.Config.OnEvent", func() { s.cfg.OnEvent(e) })
			}
		case next == 0 && moved > 0: // more is due
			fails = 0
			continue
		default:
			fails = 0
			wait = s.Pause(next)
		}
		s.rest(ctx, wait, fails == 0)
	}
	return context.Cause(ctx)
}

// Pause is how long to sleep when the next entry is due in d. The jitter prevents many movers from
// asking at the same moment.
func (s *Scheduler) Pause(d time.Duration) time.Duration {
	most := s.cfg.Every
	if d < 0 {
		most = s.cfg.Idle
	}
	if d < 0 || d > most {
		return most - rand.N(most/10+1)
	}
	return max(d, time.Millisecond) + rand.N(2*time.Millisecond)
}

// rest sleeps, until something is scheduled here if wakeable.
func (s *Scheduler) rest(ctx context.Context, d time.Duration, wakeable bool) {
	var wake <-chan struct{}
	if wakeable {
		wake = s.wake
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// Keep runs a mover in the background until it is stopped. If a *PermanentError ends it before
// that, it calls ended, if not nil, with the error.
func (s *Scheduler) Keep(ended func(error)) *Keeper { return keep(s.Run, ended) }
