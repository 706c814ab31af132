package operators

import (
	"context"
	"fmt"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// inARow is how many messages MergePreferred takes from its preferred input before another input
// gets a turn.
const inARow = 64

// MergePreferred merges sources and reads the first first. It reads rest only while first has no
// message, but at the latest after 64 messages of first. So rest gets 1/65 of the throughput if
// first never pauses.
//
//	first  --1--2--------3--|
//	rest   --a--b--c--------|
//	out    --1--2--a-b-c-3--|
//
// Order: kept per input, not between them. Acks: carried by the output.
// Holds: two chunks waiting on each input. Ends: when all inputs have ended.
func MergePreferred[T any](
	first flow.Source[T], rest []flow.Source[T], opts ...flow.StageOption,
) flow.Source[T] {
	ins := append([]flow.Source[T]{first}, rest...)
	return flow.Gather("merge-preferred", ins, func() flow.GatherHandler[T, T] {
		p := &preferred[T]{picks: make([]int, 0, len(ins))}
		for i := range rest {
			p.rest = append(p.rest, 1+i)
		}
		return p
	}, with(opts, flow.Traits{Passes: true})...)
}

// preferred reads input 0 first.
type preferred[T any] struct {
	rest  []int // the other inputs; the one served last is at the end
	row   int   // messages of input 0 since the last of another
	picks []int
}

func (p *preferred[T]) Handle(_ context.Context, port int, m flow.Message[T], emit flow.Emit[T]) error {
	p.row++
	if port != 0 {
		p.row = 0
		at := slices.Index(p.rest, port)
		copy(p.rest[at:], p.rest[at+1:])
		p.rest[len(p.rest)-1] = port
	}
	emit(m)
	return nil
}

func (p *preferred[T]) Pick([]bool) []int {
	if p.row >= inARow {
		p.picks = append(append(p.picks[:0], p.rest...), 0)
	} else {
		p.picks = append(append(p.picks[:0], 0), p.rest...)
	}
	return p.picks
}

// MergeWeighted merges sources in proportion to weights. While all inputs have messages, each round
// takes as many messages from an input as its weight. An input without a message loses the rest of
// its turn, so no capacity is lost (deficit round robin).
//
//	a    --1--2--3--4--|
//	b    --a--b--c--d--|
//	out  --1-2-a-3-4-b-c-d--|  weights 2 and 1
//
// Order: kept per input, not between them. Acks: carried by the output.
// Holds: two chunks waiting on each input. Ends: when all inputs have ended.
func MergeWeighted[T any](
	ins []flow.Source[T], weights []int, opts ...flow.StageOption,
) flow.Source[T] {
	own := []flow.StageOption{flow.Traits{Passes: true}}
	if len(weights) != len(ins) {
		own = append(own, flow.Invalid("weights", fmt.Sprintf("%d weights for %d inputs", len(weights), len(ins)),
			"give one weight for each input"))
	}
	for i, w := range weights {
		if w < 1 {
			own = append(own, flow.Invalid("weights", fmt.Sprintf("weight %d of input %d", w, i), "give 1 or more"))
		}
	}
	weights = slices.Clone(weights)
	return flow.Gather("merge-weighted", slices.Clone(ins), func() flow.GatherHandler[T, T] {
		return &weighted[T]{weights: weights, left: weights[0], order: make([]int, len(weights))}
	}, with(opts, own...)...)
}

// weighted reads its inputs in rounds.
type weighted[T any] struct {
	weights []int
	turn    int // the input that is next
	left    int // messages left in its turn
	order   []int
}

func (w *weighted[T]) Handle(_ context.Context, port int, m flow.Message[T], emit flow.Emit[T]) error {
	if port != w.turn {
		w.turn, w.left = port, w.weights[port]
	}
	if w.left--; w.left == 0 {
		w.turn = (w.turn + 1) % len(w.weights)
		w.left = w.weights[w.turn]
	}
	emit(m)
	return nil
}

func (w *weighted[T]) Pick([]bool) []int {
	for i := range w.order {
		w.order[i] = (w.turn + i) % len(w.order)
	}
	return w.order
}

// FanIn merges several sources of one type. Messages pass in the order in which they arrive, and no
// input can starve another.
//
//	a    --1-----3-----|
//	b    -----2-----4--|
//	out  --1--2--3--4--|
//
// Order: kept per input, not between them. Acks: carried by the output.
// Holds: two chunks waiting, for all inputs together. Ends: when all inputs have ended.
func FanIn[T any](ins ...flow.Source[T]) flow.Source[T] {
	return flow.Merge("fan-in", slices.Clone(ins)) // the caller may use its slice again
}
