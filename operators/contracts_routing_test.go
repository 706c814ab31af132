package operators_test

import (
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
	wired("FanIn", "", flowtest.Traits[int]{}, 3,
		func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[int] {
			return flowtest.Wired[int]{Outs: []ints{operators.FanIn(ins...)}}
		}),
}
