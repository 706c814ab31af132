package failsafe

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/bulkhead"

	"github.com/streamerson/streamerson-go/flow"
)

// soon is how long a message waits that a policy refused without a time: by a rate limiter, or by a
// breaker that tests its service with other calls.
const soon = 100 * time.Millisecond

// breaker is a circuit breaker of any type.
type breaker interface {
	IsClosed() bool
	RemainingDelay() time.Duration
}

// room is a bulkhead of any type.
type room interface {
	AcquirePermit(ctx context.Context) error
	TryAcquirePermit() bool
	ReleasePermit()
}

// guard makes the calls of the stages that share an option.
type guard[R any] struct {
	executor failsafe.Executor[R] // all policies but the bulkheads
	breakers []breaker
	rooms    []room
	patience time.Duration
	paused   atomic.Int64 // messages that wait for a breaker
}

func newGuard[R any](patience time.Duration, policies []failsafe.ResultAgnosticPolicy[R]) *guard[R] {
	g := &guard[R]{patience: patience}
	var others []failsafe.Policy[R]
	for _, p := range policies {
		if r, ok := p.(room); ok {
			g.rooms = append(g.rooms, r)
			continue
		}
		others = append(others, p)
		if b, ok := p.(breaker); ok {
			g.breakers = append(g.breakers, b)
		}
	}
	g.executor = failsafe.With(others...)
	return g
}

// around makes the call for one message, and waits while a policy refuses it.
func (g *guard[R]) around(ctx context.Context, call func(context.Context) error) error {
	var until time.Time // the end of its patience; zero before the first wait
	paused := false     // it is counted in g.paused
	defer func() {
		if paused && g.paused.Add(-1) == 0 && ctx.Err() == nil {
			flow.Logger(ctx).Info("stage continues after its circuit breaker", "stage", flow.StageName(ctx))
		}
	}()
	for {
		called, err := g.inRoom(ctx, call)
		d, waits := g.wait(called, err)
		if !waits || ctx.Err() != nil {
			return err
		}
		if until.IsZero() {
			until = time.Now().Add(g.patience)
		}
		left := time.Until(until)
		if left <= 0 {
			return err
		}
		if !paused && g.open() {
			if paused = true; g.paused.Add(1) == 1 {
				flow.Logger(ctx).Warn("stage waits for its circuit breaker",
					"stage", flow.StageName(ctx), "for", d, "error", err)
			}
		}
		if stop := flow.Backoff(ctx, min(d, left)); stop != nil {
			return stop
		}
		if drains(ctx) {
			return flow.RetryAfter(g.delay(), err)
		}
	}
}

// inRoom waits until all bulkheads have room, and tries to make the call. It reports whether the call
// was made.
func (g *guard[R]) inRoom(ctx context.Context, call func(context.Context) error) (called bool, err error) {
	if full := g.enter(-1); full >= 0 {
		if err := flow.Sleep(ctx, 0); err != nil { // passes on what is buffered
			return true, err
		}
		waiting, cancel := context.WithTimeoutCause(ctx, g.patience, bulkhead.ErrFull)
		defer cancel()
		// A message that waits for a bulkhead has no permit of another, so no two can wait for each other.
		for full >= 0 {
			if g.rooms[full].AcquirePermit(waiting) != nil {
				return true, context.Cause(waiting)
			}
			full = g.enter(full)
		}
	}
	defer func() {
		for _, r := range g.rooms {
			r.ReleasePermit()
		}
	}()
	return g.once(ctx, call)
}

// enter takes a permit of each bulkhead but the one that has is the index of: the message has a permit of
// that. If one is full, the message then has no permit, and enter returns the index of that one;
// otherwise -1.
func (g *guard[R]) enter(has int) (full int) {
	for i, r := range g.rooms {
		if i == has || r.TryAcquirePermit() {
			continue
		}
		for j, taken := range g.rooms {
			if j < i || j == has {
				taken.ReleasePermit()
			}
		}
		return i
	}
	return -1
}

// once asks the policies and makes the call. It reports whether the call was made.
func (g *guard[R]) once(ctx context.Context, call func(context.Context) error) (called bool, err error) {
	var personal error // an error about the message
	err = g.executor.WithContext(ctx).RunWithExecution(func(e failsafe.Execution[R]) error {
		called = true
		err := call(e.Context())
		if aboutMessage(err) {
			personal, err = err, nil
		}
		return err
	})
	if personal != nil {
		err = personal
	}
	return called, err
}

// wait returns how long a message waits after a call that failed or was refused. It reports false
// after a call that succeeded, and if the error is the message's own.
func (g *guard[R]) wait(called bool, err error) (d time.Duration, waits bool) {
	if err == nil {
		return 0, false
	}
	if _, decided := flow.Verdict(err); called && (decided || flow.IsPermanent(err) || !g.open()) {
		return 0, false
	}
	return g.delay(), true
}

// delay returns how long it takes until the breakers allow calls.
func (g *guard[R]) delay() time.Duration {
	d := soon
	for _, b := range g.breakers {
		d = max(d, b.RemainingDelay())
	}
	return d
}

// open reports whether a breaker is open, or half-open: it tests its service.
func (g *guard[R]) open() bool {
	for _, b := range g.breakers {
		if !b.IsClosed() {
			return true
		}
	}
	return false
}

// aboutMessage reports whether an error is about the message, and not about the service.
func aboutMessage(err error) bool {
	if err == nil {
		return false
	}
	d, decided := flow.Verdict(err)
	return decided && (d.Do == flow.ActDrop || d.Do == flow.ActDead) || flow.IsPermanent(err)
}

// drains reports whether the graph of a stage drains.
func drains(ctx context.Context) bool {
	select {
	case <-flow.DrainStarted(ctx):
		return true
	default:
		return false
	}
}
