package operators_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// sum turns each batch into the sum of its values, after a call of f for each value.
func sum(in flow.Source[[]int], f func(int) error, opts ...flow.StageOption) flow.Source[int] {
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

func good(int) error { return nil }

func TestFault_O5_Aggregators(t *testing.T) {
	inBatch := func(b []int) []int { return b }
	t.Run("batch", func(t *testing.T) {
		t.Parallel()
		flowtest.TestOperator(t, flowtest.Traits[[]int]{
			Of: inBatch, Holds: 7, Joined: true,
			Failing: func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[[]int] {
				batches := operators.Batch(in, 7, time.Minute)
				return operators.Map(batches, func(_ context.Context, b []int) ([]int, error) {
					for _, v := range b {
						if err := f(v); err != nil {
							return nil, err
						}
					}
					return b, nil
				}, opts...)
			},
		}, func(in flow.Source[int]) flow.Source[[]int] { return operators.Batch(in, 7, time.Minute) })
	})
	t.Run("batch by bytes", func(t *testing.T) {
		t.Parallel()
		byBytes := func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[[]int] {
			return operators.BatchBytes(in, 7, time.Minute, 20, func(v int) int {
				if f(v) != nil {
					return -1 // an error of the message
				}
				return 1 + v%8
			}, opts...)
		}
		flowtest.TestOperator(t, flowtest.Traits[[]int]{Of: inBatch, Holds: 7, Joined: true, Failing: byBytes},
			func(in flow.Source[int]) flow.Source[[]int] { return byBytes(in, good) })
	})
	t.Run("unbatch", func(t *testing.T) {
		t.Parallel()
		flowtest.TestOperator(t, flowtest.Traits[int]{
			Holds: 7, // and each value settles by itself
			Failing: func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[int] {
				all := operators.Unbatch(operators.Batch(in, 7, time.Minute))
				return operators.Map(all, func(_ context.Context, v int) (int, error) { return v, f(v) }, opts...)
			},
		}, func(in flow.Source[int]) flow.Source[int] {
			return operators.Unbatch(operators.Batch(in, 7, time.Minute))
		})
	})
	t.Run("sums of batches", func(t *testing.T) {
		t.Parallel()
		sums := func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[int] {
			return sum(operators.Batch(in, 7, time.Minute), f, opts...)
		}
		flowtest.TestOperator(t,
			flowtest.Traits[int]{Holds: 7, Joined: true, Check: sameTotal, Failing: sums},
			func(in flow.Source[int]) flow.Source[int] { return sums(in, good) })
	})
	t.Run("sums by key", func(t *testing.T) {
		t.Parallel()
		flowtest.TestOperator(t,
			flowtest.Traits[int]{Holds: 28, Joined: true, Check: sameTotal},
			func(in flow.Source[int]) flow.Source[int] {
				return operators.ByKey(in, 4, func(v int) int { return v % 4 },
					func(shard flow.Source[int]) flow.Source[int] {
						return sum(operators.Batch(shard, 7, time.Minute), good)
					})
			})
	})

	// The values 0 and 1 have the same key, 2 and 3 another, and so on.
	pair := func(v int) string { return strconv.Itoa(v / 2) }
	t.Run("dedupe", func(t *testing.T) {
		t.Parallel()
		flowtest.TestOperator(t, flowtest.Traits[int]{
			Joined:  true, // a repeated value shares the outcome of the first
			Stored:  true,
			Outputs: func(v int) int { return 1 - v%2 },
		}, func(in flow.Source[int]) flow.Source[int] {
			return operators.Dedupe(in, pair, &operators.DedupeMemory{})
		})
	})
	t.Run("dedupe with a check", func(t *testing.T) {
		t.Parallel()
		dedupe := func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[int] {
			may := operators.Map(in, func(_ context.Context, v int) (int, error) { return v, f(v) }, opts...)
			return operators.Dedupe(may, pair, &operators.DedupeMemory{})
		}
		flowtest.TestOperator(t, flowtest.Traits[int]{
			Joined: true, Stored: true, Failing: dedupe,
			Check: func(acked, out []int) error {
				keys := make(map[string]int)
				for _, v := range acked {
					keys[pair(v)] = 1
				}
				for _, v := range out {
					keys[pair(v)]--
				}
				for key, missing := range keys {
					if missing != 0 {
						return fmt.Errorf("key %s is in %d outputs, want 1", key, 1-missing)
					}
				}
				return nil
			},
		}, func(in flow.Source[int]) flow.Source[int] { return dedupe(in, good) })
	})
}
