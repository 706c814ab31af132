package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// Zip pairs the n-th message of a with the n-th of b. The pair joins the two: both get its outcome,
// unless Unzip takes it apart. When one input ends, the other stops reading. A message that has no
// partner then goes back to its source, or is dropped if the source cannot deliver it again. A
// message that is given back later is paired again after its redelivery.
//
//	a    --1--2-----3--4--|
//	b    --a-----b--c--|
//	out  --(1a)--(2b)-(3c)--|  4 goes back
//
// Order: kept. Acks: with its pair.
// Holds: one message, besides two chunks waiting on each input. Ends: when one input has ended.
func Zip[A, B any](a flow.Source[A], b flow.Source[B], opts ...flow.StageOption) flow.Source[Pair[A, B]] {
	return flow.Pair("zip", a, b, func() flow.PairHandler[A, B, Pair[A, B]] { return &zip[A, B]{} },
		with(opts, flow.Traits{Holds: 2, Joins: true})...)
}

// zip holds the message that waits for its partner.
type zip[A, B any] struct {
	held []flow.Held[Pair[A, B]] // with one value set
	side int                     // the input of the held message
}

func (z *zip[A, B]) Left(ctx context.Context, m flow.Message[A], emit flow.Emit[Pair[A, B]]) error {
	z.add(ctx, 0, flow.Derive(m, Pair[A, B]{First: m.Value}), emit)
	return nil
}

func (z *zip[A, B]) Right(ctx context.Context, m flow.Message[B], emit flow.Emit[Pair[A, B]]) error {
	z.add(ctx, 1, flow.Derive(m, Pair[A, B]{Second: m.Value}), emit)
	return nil
}

func (z *zip[A, B]) add(ctx context.Context, side int, m flow.Message[Pair[A, B]], emit flow.Emit[Pair[A, B]]) {
	z.held = append(z.held, flow.Hold(ctx, m))
	if len(z.held) == 1 {
		z.side = side
		return
	}
	if side == 0 {
		z.held[0], z.held[1] = z.held[1], z.held[0]
	}
	both := Pair[A, B]{z.held[0].Value.First, z.held[1].Value.Second}
	emit(flow.Join(ctx, both, z.held))
	clear(z.held)
	z.held = z.held[:0]
}

var (
	leftOnly  = []int{0}
	rightOnly = []int{1}
	leftFirst = []int{0, 1}
)

// Pick reads the input that lacks a message. When one input has ended, the other's messages are not
// needed.
func (z *zip[A, B]) Pick(open []bool) []int {
	switch {
	case len(z.held) > 0 && z.side == 0:
		return rightOnly
	case len(z.held) > 0:
		return leftOnly
	case !open[0] || !open[1]:
		return nil
	default:
		return leftFirst
	}
}

func (z *zip[A, B]) End(context.Context, flow.Emit[Pair[A, B]]) error {
	for _, h := range z.held {
		h.GiveBack()
	}
	return nil
}
