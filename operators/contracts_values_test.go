package operators_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

type (
	ints    = flow.Source[int]
	calling = func(in ints, f func(int) error, opts ...flow.StageOption) ints
)

// calls is the contract of an operator from int to int that calls a function.
func calls(operator, variant string, traits flowtest.Traits[int], op calling) contract {
	traits.Failing = op
	return promises(operator, variant, traits, func(in ints) ints { return op(in, good) })
}

// checked is a Map that calls f.
func checked(in ints, f func(int) error, opts ...flow.StageOption) ints {
	return operators.Map(in, func(_ context.Context, v int) (int, error) { return v, f(v) }, opts...)
}

func odds(v int) int { return v % 2 }

// valueContracts are those of operators that handle one value at a time.
var valueContracts = []contract{
	calls("Map", "", flowtest.Traits[int]{}, checked),
	calls("Map", "with workers", flowtest.Traits[int]{},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return checked(in, f, append(opts, flow.Workers(4))...)
		}),
	calls("Map", "by key", flowtest.Traits[int]{Order: flowtest.ByKey, Key: byFive},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return checked(in, f, append(opts, flow.Workers(4), flow.KeyedBy(byFive))...)
		}),
	calls("Map", "unordered", flowtest.Traits[int]{Order: flowtest.AnyOrder},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return checked(in, f, append(opts, flow.Workers(4), flow.Unordered())...)
		}),
	calls("MapMessage", "", flowtest.Traits[int]{},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.MapMessage(in, func(_ context.Context, m flow.Message[int]) (int, error) {
				return m.Value, f(m.Value)
			}, opts...)
		}),
	calls("Filter", "", flowtest.Traits[int]{Outputs: odds},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.Filter(
				in,
				func(_ context.Context, v int) (bool, error) { return odds(v) == 1, f(v) },
				opts...)
		}),
	calls("FilterMap", "", flowtest.Traits[int]{Outputs: odds},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.FilterMap(in, func(_ context.Context, v int) (int, bool, error) {
				return v, odds(v) == 1, f(v)
			}, opts...)
		}),
	calls("FlatMap", "", flowtest.Traits[int]{Outputs: func(v int) int { return v % 4 }},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.FlatMap(in, func(_ context.Context, v int, emit func(int)) error {
				for range v % 4 {
					emit(v)
				}
				return f(v)
			}, opts...)
		}),
	calls("Tap", "", flowtest.Traits[int]{},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.Tap(in, func(_ context.Context, v int) {
				if err := f(v); err != nil {
					panic(err) // its only way to fail
				}
			}, opts...)
		}),
	wired("Try", "", flowtest.Traits[int]{}, 1,
		func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[int] {
			ok, failed := operators.Try(ins[0], func(_ context.Context, v int) (int, error) {
				if v%3 == 0 {
					return 0, errBoom
				}
				return v, nil
			})
			again := operators.Map(failed, func(_ context.Context, f flow.Failure[int]) (int, error) {
				return f.Value, nil
			})
			return flowtest.Wired[int]{Outs: []ints{ok, again}}
		}),
	promises("Throttle", "", flowtest.Traits[int]{}, func(in ints) ints {
		return operators.Throttle(in, 100, time.Second, 5)
	}),
	calls("Dedupe", "", flowtest.Traits[int]{
		Joined: true, // a repeated value shares the outcome of the first
		Stored: true,
		Check: func(acked, out []int) error {
			keys := make(map[string]int)
			for _, v := range acked {
				keys[inPairs(v)] = 1
			}
			for _, v := range out {
				keys[inPairs(v)]--
			}
			for key, missing := range keys {
				if missing != 0 {
					return fmt.Errorf("key %s is in %d outputs, want 1", key, 1-missing)
				}
			}
			return nil
		},
	}, func(in ints, f func(int) error, opts ...flow.StageOption) ints {
		return operators.Dedupe(checked(in, f, opts...), inPairs, &operators.DedupeMemory{})
	}),
}

func byFive(v int) int { return v % 5 }

// inPairs gives the values 0 and 1 the same key, 2 and 3 another, and so on.
func inPairs(v int) string { return strconv.Itoa(v / 2) }
