package operators

import (
	"context"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// Concat passes on one source after the other. All sources open with the graph, and a later source
// reads its first entry when those before it have ended. So no entry waits for its turn with its
// lease. A source that other stages read too does not wait. Do not Concat outputs of one source: the
// messages for a later output would block the earlier ones.
//
//	a    --1--2--|
//	b    --a--b--c--|
//	out  --1--2--a-b-c--|
//
// Order: kept, a before b. Acks: carried by the output.
// Holds: two chunks waiting on the current input. Ends: when all inputs have ended.
func Concat[T any](ins ...flow.Source[T]) flow.Source[T] {
	return flow.Gather("concat", slices.Clone(ins), func() flow.GatherHandler[T, T] { return &concat[T]{} },
		flow.Traits{Passes: true}, flow.InTurn())
}

// concat reads the first open input.
type concat[T any] struct{ only [1]int }

func (*concat[T]) Handle(_ context.Context, _ int, m flow.Message[T], emit flow.Emit[T]) error {
	emit(m)
	return nil
}

func (c *concat[T]) Pick(open []bool) []int {
	c.only[0] = slices.Index(open, true)
	return c.only[:]
}

// Interleave takes messages from its inputs in turn. It takes segment messages from an input, then as
// many from the next. It waits for the next input in turn, so the result does not depend on time.
// An input that has ended is left out. Do not Interleave outputs of one source, unless it feeds
// them evenly: an input without messages blocks the others.
//
//	a    --1--2--3--4--|
//	b    --a--b--|
//	out  --1-2-a-b-3-4--|  segment = 2
//
// Order: kept, in turns. Acks: carried by the output.
// Holds: two chunks waiting on each input. Ends: when all inputs have ended.
func Interleave[T any](ins []flow.Source[T], segment int, opts ...flow.StageOption) flow.Source[T] {
	return flow.Gather("interleave", slices.Clone(ins), func() flow.GatherHandler[T, T] {
		return &interleave[T]{segment: segment}
	}, with(opts, atLeastOne("segment", segment, "messages in a turn"), flow.Traits{Passes: true})...)
}

// interleave reads one input at a time.
type interleave[T any] struct {
	segment int
	turn    int
	taken   int // messages in this turn
	only    [1]int
}

func (i *interleave[T]) Handle(_ context.Context, _ int, m flow.Message[T], emit flow.Emit[T]) error {
	i.taken++
	emit(m)
	return nil
}

func (i *interleave[T]) Pick(open []bool) []int {
	if i.taken == i.segment || !open[i.turn] {
		i.taken = 0
		for range open {
			if i.turn = (i.turn + 1) % len(open); open[i.turn] {
				break
			}
		}
	}
	i.only[0] = i.turn
	return i.only[:]
}

// OrElse passes on a second source if the first is empty. other does not read before in has ended, and
// not at all if in has had a message. If another stage reads the same source, the messages of other that
// are not used go back to it, or are dropped if it cannot deliver them again.
//
//	in     -----------|
//	other  --a--b-----|
//	out    --------a-b|
//
// Order: kept. Acks: carried by the output.
// Holds: two chunks waiting on an input. Ends: when in has ended, or other if in is empty.
func OrElse[T any](in, other flow.Source[T], opts ...flow.StageOption) flow.Source[T] {
	return flow.Gather("or-else", []flow.Source[T]{in, other}, func() flow.GatherHandler[T, T] {
		return &orElse[T]{}
	}, with(opts, flow.Traits{Passes: true}, flow.InTurn())...)
}

// orElse reads the second input only if the first has ended without a message.
type orElse[T any] struct {
	has  bool // the first has had a message
	only [1]int
}

func (o *orElse[T]) Handle(_ context.Context, port int, m flow.Message[T], emit flow.Emit[T]) error {
	o.has = o.has || port == 0
	emit(m)
	return nil
}

func (o *orElse[T]) Pick(open []bool) []int {
	o.only[0] = 0
	if !o.has && !open[0] {
		o.only[0] = 1
	}
	return o.only[:]
}
