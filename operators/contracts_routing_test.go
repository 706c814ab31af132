package operators_test

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// routes is the contract of an operator with several outputs of int, which calls a function.
func routes(
	operator, variant string, traits flowtest.Traits[int],
	op func(in ints, f func(int) error, opts ...flow.StageOption) []ints,
) contract {
	return wired(operator, variant, traits, 1,
		func(ins []ints, f func(int) error, opts ...flow.StageOption) flowtest.Wired[int] {
			return flowtest.Wired[int]{Outs: op(ins[0], orGood(f), opts...)}
		})
}

// merges is the contract of an operator with several inputs of int.
func merges(operator string, traits flowtest.Traits[int], inputs int, op func(ins []ints) ints) contract {
	return wired(operator, "", traits, inputs,
		func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[int] {
			return flowtest.Wired[int]{Outs: []ints{op(ins)}}
		})
}

// countdown sends each value rounds times round a loop.
func countdown(in ints, bound, rounds int, f func(int) error, opts ...flow.StageOption) ints {
	type turn = operators.Pair[int, int] // the value, and how many rounds are left
	begin := operators.Map(in, flow.Pure(func(v int) turn { return turn{First: v, Second: rounds} }))
	return operators.Feedback(begin, bound,
		func(loop flow.Source[turn]) (ints, flow.Source[turn]) {
			next := operators.Map(loop, func(_ context.Context, t turn) (turn, error) {
				return turn{First: t.First, Second: t.Second - 1}, f(t.First)
			}, opts...)
			return operators.Case(operators.Map(next, func(_ context.Context, t turn) (turn, error) { return t, nil }),
				func(t turn) (int, bool) { return t.First, t.Second <= 0 })
		})
}

// atMostOnce is a Traits.Check for outputs that descend from the newer of two inputs.
func atMostOnce(acked, out []int) error {
	seen := make(map[int]bool)
	for _, v := range out {
		if seen[v] {
			return fmt.Errorf("output %d has come twice", v)
		}
		seen[v] = true
	}
	if len(out) > len(acked) {
		return fmt.Errorf("%d outputs of %d acked inputs", len(out), len(acked))
	}
	return nil
}

// panics calls f and panics with its error, for functions that have no error.
func panics(f func(int) error, v int) int {
	if err := f(v); err != nil {
		panic(err)
	}
	return v
}

// routingContracts are those of operators with several outputs or inputs.
var routingContracts = []contract{
	routes("FanOut", "", flowtest.Traits[int]{Outputs: func(int) int { return 3 }},
		func(in ints, _ func(int) error, _ ...flow.StageOption) []ints { return operators.FanOut(in, 3) }),
	routes("Balance", "", flowtest.Traits[int]{},
		func(in ints, _ func(int) error, _ ...flow.StageOption) []ints { return operators.Balance(in, 3) }),
	routes("Partition", "", flowtest.Traits[int]{Calls: true},
		func(in ints, f func(int) error, opts ...flow.StageOption) []ints {
			return operators.Partition(in, 3, func(v int) int { return panics(f, v) % 7 }, opts...)
		}),
	routes("Split", "", flowtest.Traits[int]{Calls: true},
		func(in ints, f func(int) error, opts ...flow.StageOption) []ints {
			yes, no := operators.Split(in, func(v int) bool { return panics(f, v)%3 == 0 }, opts...)
			return []ints{yes, no}
		}),
	calls("ByKey", "", flowtest.Traits[int]{Order: flowtest.ByKey, Key: byFive},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.ByKey(in, 3, func(v int) int { return byFive(panics(f, v)) },
				func(shard ints) ints { return checked(shard, good, flow.Async()) }, opts...)
		}),
	routes("Case", "", flowtest.Traits[int]{Calls: true},
		func(in ints, f func(int) error, opts ...flow.StageOption) []ints {
			hit, rest := operators.Case(in, func(v int) (int, bool) { return v, panics(f, v)%3 == 0 }, opts...)
			return []ints{hit, rest}
		}),
	wired("Unzip", "", flowtest.Traits[int]{Outputs: func(int) int { return 2 }}, 1,
		func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[int] {
			first, second := operators.Unzip(operators.Map(ins[0], flow.Pure(func(v int) operators.Pair[int, int] {
				return operators.Pair[int, int]{First: v, Second: v}
			})))
			return flowtest.Wired[int]{Outs: []ints{first, second}}
		}),
	wired("Unzip", "after Zip", flowtest.Traits[int]{Leaves: true, Holds: 2}, 2,
		func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[int] {
			first, second := operators.Unzip(operators.Zip(ins[0], ins[1]))
			return flowtest.Wired[int]{Outs: []ints{first, second}}
		}),
	wired("DivertTo", "", flowtest.Traits[int]{Calls: true, Outputs: odds}, 1,
		func(ins []ints, f func(int) error, opts ...flow.StageOption) flowtest.Wired[int] {
			f = orGood(f)
			out, diverted := operators.DivertTo(ins[0], func(v int) bool { return odds(panics(f, v)) == 0 },
				discard[int](), opts...)
			return flowtest.Wired[int]{Outs: []ints{out}, Parts: []flow.Part{diverted}}
		}),
	wired("AlsoTo", "", flowtest.Traits[int]{}, 1,
		func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[int] {
			out, also := operators.AlsoTo(ins[0], discard[int]())
			return flowtest.Wired[int]{Outs: []ints{out}, Parts: []flow.Part{also}}
		}),
	merges("MergePreferred", flowtest.Traits[int]{}, 3, func(ins []ints) ints {
		return operators.MergePreferred(ins[0], ins[1:])
	}),
	merges("MergeWeighted", flowtest.Traits[int]{}, 3, func(ins []ints) ints {
		return operators.MergeWeighted(ins, []int{3, 1, 2})
	}),
	merges("Concat", flowtest.Traits[int]{InTurn: true}, 3, func(ins []ints) ints { return operators.Concat(ins...) }),
	merges("Interleave", flowtest.Traits[int]{}, 3, func(ins []ints) ints { return operators.Interleave(ins, 2) }),
	merges("OrElse", flowtest.Traits[int]{Leaves: true, InTurn: true}, 2, func(ins []ints) ints {
		return operators.OrElse(ins[0], ins[1])
	}),
	merges("MergeSorted", flowtest.Traits[int]{Holds: 3}, 3, func(ins []ints) ints {
		return operators.MergeSorted(ins, cmp.Compare[int], 0)
	}),
	wired("MergeSequence", "", flowtest.Traits[int]{Calls: true, Holds: 8}, 3,
		func(ins []ints, f func(int) error, opts ...flow.StageOption) flowtest.Wired[int] {
			f = orGood(f)
			return flowtest.Wired[int]{Outs: []ints{operators.MergeSequence(ins, func(v int) uint64 {
				return uint64(panics(f, v))
			}, 8, time.Minute, operators.SkipGap, opts...)}}
		}),
	wired("Zip", "", flowtest.Traits[operators.Pair[int, int]]{
		Of:     func(p operators.Pair[int, int]) []int { return []int{p.First, p.Second} },
		Joined: true, Leaves: true, Holds: 2,
	}, 2, func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[operators.Pair[int, int]] {
		return flowtest.Wired[operators.Pair[int, int]]{
			Outs: []flow.Source[operators.Pair[int, int]]{operators.Zip(ins[0], ins[1])},
		}
	}),
	merges(
		"WithLatest",
		flowtest.Traits[int]{Leaves: true, InTurn: true, Outputs: func(v int) int { return 1 - v%2 }},
		2,
		func(ins []ints) ints {
			return operators.WithLatest(
				ins[0],
				ins[1],
				func(_ context.Context, v, _ int) (int, error) { return v, nil },
			)
		},
	),
	merges("CombineLatest", flowtest.Traits[int]{Check: atMostOnce}, 2, func(ins []ints) ints {
		return operators.CombineLatest(ins[0], ins[1], func(_ context.Context, a, b int) (int, error) {
			return a*1000 + b, nil
		})
	}),
	wired("WireTap", "", flowtest.Traits[int]{}, 1,
		func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[int] {
			broken := &box[int]{each: func(_ context.Context, v int) error {
				if v%3 == 0 {
					panic(errBoom)
				}
				return errBoom
			}}
			out, tap := operators.WireTap(ins[0], broken.sink())
			return flowtest.Wired[int]{Outs: []ints{out}, Parts: []flow.Part{tap}}
		}),
	calls("Feedback", "", flowtest.Traits[int]{Order: flowtest.AnyOrder},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return countdown(in, 8, 3, f, opts...)
		}),
	wired("FanIn", "", flowtest.Traits[int]{}, 3,
		func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[int] {
			return flowtest.Wired[int]{Outs: []ints{operators.FanIn(ins...)}}
		}),
}
