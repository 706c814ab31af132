package operators_test

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// sum turns each batch into the sum of its values, after a call of f for each value.
func sum(in flow.Source[[]int], f func(int) error, opts ...flow.StageOption) ints {
	return operators.Map(in, func(_ context.Context, batch []int) (int, error) {
		total := 0
		for _, v := range batch {
			if err := f(v); err != nil {
				return 0, err
			}
			total += v
		}
		return total, nil
	}, opts...)
}

// sameTotal is a Traits.Check for sums of the inputs, whichever inputs each sum is of.
func sameTotal(acked, out []int) error {
	total := 0
	for _, v := range acked {
		total += v
	}
	for _, v := range out {
		total -= v
	}
	if total != 0 {
		return fmt.Errorf("the sums miss %d", total)
	}
	return nil
}

func inBatch(b []int) []int { return b }

func sevens(in ints) flow.Source[[]int] { return operators.Batch(in, 7, time.Minute) }

func byWeight(in ints, f func(int) error, opts ...flow.StageOption) flow.Source[[]int] {
	return operators.BatchWeighted(in, 7, time.Minute, 20, func(v int) int {
		if f(v) != nil {
			return -1 // an error of the message
		}
		return 1 + v%8
	}, opts...)
}

// batchContracts are those of operators that join messages.
var batchContracts = []contract{
	promises("Batch", "", flowtest.Traits[[]int]{
		Of: inBatch, Holds: 7, Joined: true,
		Failing: func(in ints, f func(int) error, opts ...flow.StageOption) flow.Source[[]int] {
			return operators.Map(sevens(in), func(_ context.Context, b []int) ([]int, error) {
				for _, v := range b {
					if err := f(v); err != nil {
						return nil, err
					}
				}
				return b, nil
			}, opts...)
		},
	}, sevens),
	promises("BatchWeighted", "", flowtest.Traits[[]int]{Of: inBatch, Holds: 7, Joined: true, Failing: byWeight},
		func(in ints) flow.Source[[]int] { return byWeight(in, good) }),
	calls("Unbatch", "", flowtest.Traits[int]{Holds: 7}, // and each value settles by itself
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return checked(operators.Unbatch(sevens(in)), f, opts...)
		}),
	calls("Batch", "sums", flowtest.Traits[int]{Holds: 7, Joined: true, Check: sameTotal},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints { return sum(sevens(in), f, opts...) }),
	promises("ByKey", "sums", flowtest.Traits[int]{Holds: 28, Joined: true, Check: sameTotal}, func(in ints) ints {
		return operators.ByKey(in, 4, func(v int) int { return v % 4 },
			func(shard ints) ints { return sum(sevens(shard), good) })
	}),
}
