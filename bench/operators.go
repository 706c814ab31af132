package bench

import (
	"context"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// operator is the work of a case that measures one operator: build makes it, and byHand is a plain
// loop's body for the same work.
type operator struct {
	name, about string
	build       func(flow.Source[int]) flow.Source[int]
	byHand      func() func(v int, emit func(int))
}

// operatorCases measure what each operator costs per message, from a source in memory to a sink,
// with acknowledgements. The difference to op-none is the operator's.
func operatorCases() []Case {
	all := []operator{
		{"none", "nothing between source and sink", func(in flow.Source[int]) flow.Source[int] { return in }, keep},
		{"map", "Map", func(in flow.Source[int]) flow.Source[int] {
			return operators.Map(in, flow.Pure(plusOne))
		}, func() func(int, func(int)) { return func(v int, emit func(int)) { emit(plusOne(v)) } }},
		{"filter", "Filter", func(in flow.Source[int]) flow.Source[int] {
			return operators.Filter(in, flow.Pure(notTenth))
		}, func() func(int, func(int)) {
			return func(v int, emit func(int)) {
				if notTenth(v) {
					emit(v)
				}
			}
		}},
		{"flat-map", "FlatMap: two values of each", func(in flow.Source[int]) flow.Source[int] {
			return operators.FlatMap(in, func(_ context.Context, v int, emit func(int)) error {
				emit(v)
				emit(plusOne(v))
				return nil
			})
		}, func() func(int, func(int)) {
			return func(v int, emit func(int)) {
				emit(v)
				emit(plusOne(v))
			}
		}},
		{"fan-out", "FanOut to two outputs, and FanIn", func(in flow.Source[int]) flow.Source[int] {
			return operators.FanIn(operators.FanOut(in, 2)...)
		}, func() func(int, func(int)) {
			return func(v int, emit func(int)) {
				emit(v)
				emit(v)
			}
		}},
		{"partition", "Partition to two outputs, and FanIn", func(in flow.Source[int]) flow.Source[int] {
			return operators.FanIn(operators.Partition(in, 2, plusOne)...)
		}, keep},
		{"balance", "Balance to two outputs, and FanIn", func(in flow.Source[int]) flow.Source[int] {
			return operators.FanIn(operators.Balance(in, 2)...)
		}, keep},
		{"split", "Split, and FanIn", func(in flow.Source[int]) flow.Source[int] {
			yes, no := operators.Split(in, notTenth)
			return operators.FanIn(yes, no)
		}, keep},
		{"batch", "Batch of 256, and Unbatch", func(in flow.Source[int]) flow.Source[int] {
			return operators.Unbatch(operators.Batch(in, 256, time.Second))
		}, keep},
		{"throttle", "Throttle, without a wait", func(in flow.Source[int]) flow.Source[int] {
			return operators.Throttle(in, 1e9, time.Second, 1e9)
		}, keep},
	}
	cases := make([]Case, len(all))
	for i, o := range all {
		cases[i] = o.measured()
	}
	return cases
}

// keep is the work of operators that only pass values on.
func keep() func(int, func(int)) { return func(v int, emit func(int)) { emit(v) } }

func (o operator) measured() Case {
	return Case{
		Name: "op-" + o.name, About: o.about, Reference: "loop", N: 1e6, Payload: 8, Explicit: true,
		Check: func(_ context.Context, t *Trial) error {
			var want Tally
			o.loop(t.N, want.AddInt)
			return compare("the operator's output", t.Got, want)
		},
		Implementations: []Implementation{
			{Name: "default", Ours: true, About: "source, " + o.about + ", sink",
				Run: func(ctx context.Context, t *Trial) error { return runNumbers(ctx, t, o.build) }},
			{Name: "loop", About: "a plain loop", Run: func(_ context.Context, t *Trial) error {
				o.loop(t.N, t.Got.AddInt)
				return nil
			}},
		},
	}
}

// loop does the work on the numbers 0 to n-1.
func (o operator) loop(n int, emit func(int)) {
	each := o.byHand()
	for v := range n {
		each(v, emit)
	}
}
