package operators

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Limiter is the limit of ThrottleShared: ratelimit.Limiter shares it between processes through
// Redis. Take may be called concurrently.
type Limiter interface {
	// Take takes up to want units, which is positive, and returns how many it got. If it got fewer,
	// wait is the time until it is worth trying again. It does not wait for units, but may retry for
	// a while if its server cannot answer.
	Take(ctx context.Context, want int) (got int, wait time.Duration, err error)
}

// ThrottleShared is Throttle with a limit that is shared. All processes that use the same limit
// together pass no more units than it grants. cost returns how many units a value needs; nil means
// one for each. A message may cost more than the limit grants at once: it passes when it has
// gathered its units. Messages that wait in one process keep their order; processes compete.
//
// The limit is asked chunk by chunk. While it cannot be asked, no message passes. After the
// limiter's patience the fault policy decides. A negative cost, or a panic of cost, is a fault of
// its message. A drain keeps the pace, and a stop ends the wait at once.
//
//	in   --123--------4--|
//	out  --12-----3---4--|  two in six ticks, for all processes
//
// Order: kept. Acks: carried by the output.
// Holds: a chunk of messages that wait. Ends: when in ends, after the messages that wait.
func ThrottleShared[T any](
	in flow.Source[T], limit Limiter, cost func(T) int, opts ...flow.StageOption,
) flow.Source[T] {
	if cost == nil {
		cost = func(T) int { return 1 }
	}
	paced := flow.Via(in, "throttle-ask", func() flow.Handler[T, *toll[T]] {
		return &tollgate[T]{limit: limit, cost: cost}
	}, flow.Async(), flow.ChunkSize(askAtOnce))
	return flow.Step(paced, "throttle-shared", func() flow.StepFunc[*toll[T], T] {
		return func(ctx context.Context, m flow.Message[*toll[T]]) (flow.Message[T], bool, error) {
			return flow.Derive(m, m.Value.value), true, m.Value.settle(ctx, limit, cost)
		}
	}, with(opts, limiter(limit), flow.Traits{OneWorker: ownLimit})...)
}

func limiter(l Limiter) flow.StageOption {
	if l != nil {
		return nil
	}
	return flow.Invalid("limit", "it is nil", "give a limit, such as a *ratelimit.Limiter")
}

// toll is a message with the units that it still has to pay.
type toll[T any] struct {
	value    T
	owes     int
	unpriced bool  // its cost is not known
	err      error // of the limit, or of the cost; it is returned once
}

// settle returns the message's error. After it has, a call is a retry.
func (t *toll[T]) settle(ctx context.Context, limit Limiter, cost func(T) int) (err error) {
	if err := t.err; err != nil {
		t.err = nil
		return fmt.Errorf("operators: throttle-shared: %w", err)
	}
	if t.unpriced {
		if t.owes, err = costOf(t.value, cost); err != nil {
			return fmt.Errorf("operators: throttle-shared: %w", err)
		}
		t.unpriced = false
	}
	return t.pay(ctx, limit)
}

// errNoUnits stops a Limiter that breaks its contract from being called without a pause.
var errNoUnits = errors.New("operators: throttle-shared: Take returned no units and no time to wait")

// pay waits until the units are paid.
func (t *toll[T]) pay(ctx context.Context, limit Limiter) error {
	for t.owes > 0 {
		got, wait, err := limit.Take(ctx, t.owes)
		if err != nil {
			return fmt.Errorf("operators: throttle-shared: %w", err)
		}
		if got <= 0 && wait <= 0 {
			return errNoUnits
		}
		if t.owes -= max(got, 0); t.owes > 0 {
			if err := flow.Sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
	return nil
}

// tollgate gathers the messages of a chunk and pays for them together.
type tollgate[T any] struct {
	limit Limiter
	cost  func(T) int
	held  []flow.Held[T]
	costs []int   // of held
	errs  []error // of the costs of held
	paid  int     // units that were taken and not used
}

func (g *tollgate[T]) Handle(ctx context.Context, m flow.Message[T], _ flow.Emit[*toll[T]]) error {
	units, err := costOf(m.Value, g.cost)
	g.held, g.costs, g.errs = append(g.held, flow.Hold(ctx, m)), append(g.costs, units), append(g.errs, err)
	return nil
}

// Next requests a Ring as soon as the current chunk is handled.
func (g *tollgate[T]) Next() time.Time {
	if len(g.held) == 0 {
		return time.Time{}
	}
	return time.Unix(0, 0)
}

// Ring passes on the messages as they are paid. If the limit cannot be asked, it passes on all with
// the error, and the next stage returns it to the fault policy.
func (g *tollgate[T]) Ring(ctx context.Context, emit flow.Emit[*toll[T]]) error {
	all := make([]toll[T], len(g.held))
	for i := 0; i < len(all); {
		for i < len(all) && g.paid >= g.costs[i] {
			g.paid -= g.costs[i]
			g.pass(i, &all[i], emit)
			i++
		}
		if i == len(all) {
			break
		}
		got, wait, err := g.limit.Take(ctx, g.owed(i))
		if err == nil && got <= 0 && wait <= 0 {
			err = errNoUnits
		}
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			for ; i < len(all); i++ {
				all[i].owes, all[i].err = g.costs[i], err
				g.pass(i, &all[i], emit)
			}
			break
		}
		if g.paid += max(got, 0); g.paid < g.costs[i] {
			if err := flow.Sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
	clear(g.held)
	g.held, g.costs, g.errs = g.held[:0], g.costs[:0], g.errs[:0]
	return nil
}

// owed returns the units that the messages from the i-th on still need.
func (g *tollgate[T]) owed(i int) int {
	sum := -g.paid
	for _, units := range g.costs[i:] {
		if units > math.MaxInt-max(sum, 0) {
			return math.MaxInt
		}
		sum += units
	}
	return sum
}

func (g *tollgate[T]) pass(i int, t *toll[T], emit flow.Emit[*toll[T]]) {
	t.value = g.held[i].Value
	if err := g.errs[i]; err != nil {
		t.err, t.unpriced = err, true
	}
	emit(flow.Derive(g.held[i].Message, t))
	g.held[i].Done()
}

func (g *tollgate[T]) End(ctx context.Context, emit flow.Emit[*toll[T]]) error {
	return g.Ring(ctx, emit)
}
