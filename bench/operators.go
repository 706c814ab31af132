package bench

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/state"
	"github.com/streamerson/streamerson-go/operators/window"
)

// ints is the stream of the cases for operators.
type ints = flow.Source[int]

// operator is the work of a case that measures one operator. Its build makes the operator, and rest
// ends outputs that are not compared. Its byHand is the body of a plain loop for the same work. If
// it is nil, the loop passes each value on.
type operator struct {
	name, about string
	build       func(in ints, rest func(flow.Part)) ints
	byHand      func(v int, emit func(int))
}

// operatorCases measure what each operator costs per message, from a source in memory to a sink,
// with acknowledgements. The difference to op-none is the operator's.
func operatorCases() []Case {
	all := slices.Concat(valueOperators(), routingOperators(), mergingOperators(), holdingOperators(), timedOperators())
	cases := make([]Case, len(all))
	for i, o := range all {
		cases[i] = o.measured()
	}
	return cases
}

// discard ends an output.
func discard[T any](rest func(flow.Part), out flow.Source[T]) {
	rest(flow.To(out, nowhere[T]()))
}

func nowhere[T any]() flow.Sink[T] {
	return flow.NewSink("nowhere", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(context.Context, []flow.Message[T]) error { return nil })
	})
}

func twice(v int, emit func(int)) {
	emit(v)
	emit(v)
}

// valueOperators handle one value after the other.
func valueOperators() []operator {
	return []operator{
		{"none", "nothing between source and sink", func(in ints, _ func(flow.Part)) ints { return in }, nil},
		{"map", "Map", func(in ints, _ func(flow.Part)) ints { return operators.Map(in, flow.Pure(plusOne)) },
			func(v int, emit func(int)) { emit(plusOne(v)) }},
		{"filter", "Filter", func(in ints, _ func(flow.Part)) ints {
			return operators.Filter(in, flow.Pure(notTenth))
		}, func(v int, emit func(int)) {
			if notTenth(v) {
				emit(v)
			}
		}},
		{"flat-map", "FlatMap: two values of each", func(in ints, _ func(flow.Part)) ints {
			return operators.FlatMap(in, func(_ context.Context, v int, emit func(int)) error {
				twice(v, emit)
				return nil
			})
		}, twice},
		{"tap", "Tap", func(in ints, _ func(flow.Part)) ints {
			return operators.Tap(in, func(context.Context, int) {})
		}, nil},
		{"try", "Try", func(in ints, rest func(flow.Part)) ints {
			ok, failed := operators.Try(in, flow.Pure(func(v int) int { return v }))
			discard(rest, failed)
			return ok
		}, nil},
		{"scan", "Scan that returns its value", func(in ints, _ func(flow.Part)) ints {
			return operators.Scan(in, 0, func(_ context.Context, _, v int) (int, error) { return v, nil })
		}, nil},
		{"take", "Take of all", func(in ints, _ func(flow.Part)) ints { return operators.Take(in, 1<<40) }, nil},
		{"distinct", "Distinct of the last 1000", func(in ints, _ func(flow.Part)) ints {
			return operators.Distinct(in, func(v int) int { return v }, 1000)
		}, nil},
		{"stateful", "Stateful: a count for each of 1000 keys", func(in ints, _ func(flow.Part)) ints {
			return operators.Stateful(in, func(v int) int { return v % 1000 }, &state.Memory[int, int]{MaxKeys: 1000},
				func(_ context.Context, c *state.Cell[int, int], v int, emit func(int)) error {
					n, _ := c.Get()
					c.Set(n + 1)
					emit(v)
					return nil
				}, nil)
		}, nil},
		{"group-by", "GroupBy: Map for each of 1000 keys", func(in ints, _ func(flow.Part)) ints {
			return operators.GroupBy(in, func(v int) int { return v % 1000 }, 1000, time.Minute,
				func(of ints) ints { return operators.Map(of, flow.Pure(plusOne)) })
		}, func(v int, emit func(int)) { emit(plusOne(v)) }},
		{"throttle", "Throttle, without a wait", func(in ints, _ func(flow.Part)) ints {
			return operators.Throttle(in, 1e9, time.Second, 1e9)
		}, nil},
		{"watchdog", "Watchdog for an idle stream", func(in ints, _ func(flow.Part)) ints {
			return operators.Watchdog(in, operators.Idle, time.Hour)
		}, nil},
	}
}

// routingOperators have several outputs.
func routingOperators() []operator {
	return []operator{
		{"fan-out", "FanOut to two outputs, and FanIn", func(in ints, _ func(flow.Part)) ints {
			return operators.FanIn(operators.FanOut(in, 2)...)
		}, twice},
		{"partition", "Partition to two outputs, and FanIn", func(in ints, _ func(flow.Part)) ints {
			return operators.FanIn(operators.Partition(in, 2, plusOne)...)
		}, nil},
		{"balance", "Balance to two outputs, and FanIn", func(in ints, _ func(flow.Part)) ints {
			return operators.FanIn(operators.Balance(in, 2)...)
		}, nil},
		{"split", "Split, and FanIn", func(in ints, _ func(flow.Part)) ints {
			yes, no := operators.Split(in, notTenth)
			return operators.FanIn(yes, no)
		}, nil},
		{"case", "Case, and FanIn", func(in ints, _ func(flow.Part)) ints {
			hit, rest := operators.Case(in, func(v int) (int, bool) { return v, notTenth(v) })
			return operators.FanIn(hit, rest)
		}, nil},
		{"also-to", "AlsoTo", func(in ints, rest func(flow.Part)) ints {
			out, also := operators.AlsoTo(in, nowhere[int]())
			rest(also)
			return out
		}, nil},
		{"wire-tap", "WireTap", func(in ints, rest func(flow.Part)) ints {
			out, tap := operators.WireTap(in, nowhere[int]())
			rest(tap)
			return out
		}, nil},
	}
}

// mergingOperators have several inputs: here the two halves of the stream.
func mergingOperators() []operator {
	halves := func(in ints) []ints {
		even, odd := operators.Split(in, func(v int) bool { return v&1 == 0 })
		return []ints{even, odd}
	}
	return []operator{
		{"merge-preferred", "Split, and MergePreferred", func(in ints, _ func(flow.Part)) ints {
			half := halves(in)
			return operators.MergePreferred(half[0], half[1:])
		}, nil},
		{"merge-weighted", "Split, and MergeWeighted", func(in ints, _ func(flow.Part)) ints {
			return operators.MergeWeighted(halves(in), []int{2, 1})
		}, nil},
		{"merge-sorted", "Split, and MergeSorted", func(in ints, _ func(flow.Part)) ints {
			return operators.MergeSorted(halves(in), cmp.Compare[int], time.Minute)
		}, nil},
		{"merge-sequence", "Split, and MergeSequence", func(in ints, _ func(flow.Part)) ints {
			return operators.MergeSequence(halves(in), func(v int) uint64 { return uint64(v) }, 1024, time.Minute,
				operators.SkipGap)
		}, nil},
		{"zip", "FanOut, and Zip", func(in ints, _ func(flow.Part)) ints {
			copies := operators.FanOut(in, 2)
			return operators.Map(operators.Zip(copies[0], copies[1]),
				flow.Pure(func(p operators.Pair[int, int]) int { return p.First }))
		}, nil},
	}
}

// holdingOperators hold messages.
func holdingOperators() []operator {
	return []operator{
		{"batch", "Batch of 256, and Unbatch", func(in ints, _ func(flow.Part)) ints {
			return operators.Unbatch(operators.Batch(in, 256, time.Second))
		}, nil},
		{"batch-weighted", "BatchWeighted of 256, and Unbatch", func(in ints, _ func(flow.Part)) ints {
			return operators.Unbatch(operators.BatchWeighted(in, 256, time.Second, 512, func(int) int { return 2 }))
		}, nil},
		{"map-batch", "Batch of 256, and MapBatch", func(in ints, _ func(flow.Part)) ints {
			return operators.MapBatch(operators.Batch(in, 256, time.Second),
				func(_ context.Context, values []int) ([]int, error) { return values, nil })
		}, nil},
		{"buffer", "Buffer of 256, with Block", func(in ints, _ func(flow.Part)) ints {
			return operators.Buffer(in, 256, operators.Block, flow.ChunkSize(64))
		}, nil},
		{"window", "Window: counts of 256 values, and their sum", func(in ints, rest func(flow.Part)) ints {
			results, late := operators.Window(in, window.Config[int, int]{
				Windows: window.CountOf(256), Key: func(int) int { return 0 },
			}, window.Values[int](256))
			discard(rest, late)
			return unpacked(results)
		}, nil},
	}
}

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
				Run: func(ctx context.Context, t *Trial) error {
					return runParts(ctx, t, func(in ints) (parts []flow.Part) {
						out := o.build(in, func(p flow.Part) { parts = append(parts, p) })
						return append(parts, flow.To(out, adder(t)))
					})
				}},
			{Name: "loop", About: "a plain loop", Run: func(_ context.Context, t *Trial) error {
				o.loop(t.N, t.Got.AddInt)
				return nil
			}},
		},
	}
}

// loop does the work on the numbers 0 to n-1.
func (o operator) loop(n int, emit func(int)) {
	for v := range n {
		if o.byHand == nil {
			emit(v)
			continue
		}
		o.byHand(v, emit)
	}
}
