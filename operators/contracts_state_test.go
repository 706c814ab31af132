package operators_test

import (
	"context"
	"errors"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/state"
)

// pairSum is the last value and the sum of all. Each further type of message takes long to compile.
type pairSum = operators.Pair[int, int]

func scanned(in ints, f func(int) error, opts ...flow.StageOption) flow.Source[pairSum] {
	return operators.Scan(in, pairSum{}, func(_ context.Context, p pairSum, v int) (pairSum, error) {
		return pairSum{First: v, Second: p.Second + v}, f(v)
	}, opts...)
}

func folded(in ints, f func(int) error, opts ...flow.StageOption) ints {
	return operators.Fold(in, 0, func(_ context.Context, sum, v int) (int, error) { return sum + v, f(v) }, opts...)
}

// counting passes on each value, and fails if the count of its key is not as expected.
func counting(in ints) ints {
	return operators.Stateful(in, byFive, nil,
		func(_ context.Context, c *state.Cell[int, int], v int, emit func(int)) error {
			n, _ := c.Get()
			c.Set(n + 1)
			if n != v/5 {
				return errors.New("a value was counted twice or not at all")
			}
			emit(v)
			return nil
		}, nil)
}

func emitting(in ints, f func(int) error, opts ...flow.StageOption) ints {
	return operators.Stateful(in, byFive, nil,
		func(_ context.Context, c *state.Cell[int, int], v int, emit func(int)) error {
			emit(v)
			c.Set(v)
			return f(v)
		}, nil, opts...)
}

// tens is 0 for the first ten values and 1 for the others.
func tens(v int) int { return min(v/10, 1) }

// stateContracts are those of operators with a state in memory.
var stateContracts = []contract{
	promises("Scan", "",
		flowtest.Traits[pairSum]{Of: func(p pairSum) []int { return []int{p.First} }, Failing: scanned},
		func(in ints) flow.Source[pairSum] { return scanned(in, good) }),
	promises("Fold", "", flowtest.Traits[int]{Failing: folded, Check: func(acked, out []int) error {
		if len(out) == 0 { // the sink refused the sum, or there was a stop
			return nil
		}
		return sameTotal(acked, out)
	}}, func(in ints) ints { return folded(in, good) }),
	promises("Take", "", flowtest.Traits[int]{}, func(in ints) ints { return operators.Take(in, 1000) }),
	calls("TakeWhile", "", flowtest.Traits[int]{}, func(in ints, f func(int) error, opts ...flow.StageOption) ints {
		return operators.TakeWhile(in, func(v int) bool { return panics(f, v) >= 0 }, opts...)
	}),
	promises("Drop", "", flowtest.Traits[int]{Outputs: tens}, func(in ints) ints { return operators.Drop(in, 10) }),
	promises("DropWhile", "", flowtest.Traits[int]{Outputs: tens}, func(in ints) ints {
		return operators.DropWhile(in, func(v int) bool { return v < 10 })
	}),
	promises("Distinct", "", flowtest.Traits[int]{Outputs: func(v int) int { return 1 - v%2 }}, func(in ints) ints {
		return operators.Distinct(in, func(v int) int { return v / 2 }, 100)
	}),
	calls("GroupBy", "", flowtest.Traits[int]{Order: flowtest.ByKey, Key: byFive},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.GroupBy(in, byFive, 3, time.Minute, func(of ints) ints { return checked(of, f, opts...) })
		}),
	promises("GroupBy", "batches", flowtest.Traits[[]int]{
		Of: inBatch, Holds: 20, Joined: true, Order: flowtest.ByKey, Key: byFive,
	}, func(in ints) flow.Source[[]int] {
		return operators.GroupBy(in, byFive, 10, time.Minute,
			func(of ints) flow.Source[[]int] { return operators.Batch(of, 3, 0) })
	}),
	promises("Stateful", "counting", flowtest.Traits[int]{}, counting),
	promises("Stateful", "", flowtest.Traits[int]{Failing: emitting}, func(in ints) ints { return emitting(in, good) }),
}
