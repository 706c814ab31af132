package flowtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

func mapped(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[int] {
	return operators.Map(in, func(_ context.Context, v int) (int, error) { return v, f(v) }, opts...)
}

func same(int) error { return nil }

func TestOperatorMap(t *testing.T) {
	mod := func(v int) int { return v % 5 }
	for name, c := range map[string]struct {
		order flowtest.Order
		opts  []flow.StageOption
	}{
		"fused":     {flowtest.Kept, nil},
		"async":     {flowtest.Kept, []flow.StageOption{flow.Async()}},
		"ordered":   {flowtest.Kept, []flow.StageOption{flow.Workers(4)}},
		"keyed":     {flowtest.ByKey, []flow.StageOption{flow.Workers(4), flow.KeyedBy(mod)}},
		"unordered": {flowtest.AnyOrder, []flow.StageOption{flow.Workers(4), flow.Unordered()}},
	} {
		t.Run(name, func(t *testing.T) {
			flowtest.TestOperator(t, flowtest.Traits[int]{
				Order: c.order, Key: mod,
				Failing: func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[int] {
					return mapped(in, f, append(c.opts, opts...)...)
				},
			}, func(in flow.Source[int]) flow.Source[int] { return mapped(in, same, c.opts...) })
		})
	}
}

func TestOperatorFilter(t *testing.T) {
	even := func(v int) bool { return v%2 == 0 }
	flowtest.TestOperator(t, flowtest.Traits[int]{
		Outputs: func(v int) int {
			if even(v) {
				return 1
			}
			return 0
		},
	}, func(in flow.Source[int]) flow.Source[int] {
		return operators.Filter(in, func(_ context.Context, v int) (bool, error) { return even(v), nil })
	})
}

func TestOperatorBatch(t *testing.T) {
	flowtest.TestOperator(t, flowtest.Traits[[]int]{
		Of: func(b []int) []int { return b }, Holds: 7, Joined: true,
	}, func(in flow.Source[int]) flow.Source[[]int] { return operators.Batch(in, 7, time.Minute) })
}

func TestOperatorDiamond(t *testing.T) {
	flowtest.TestOperator(t, flowtest.Traits[int]{
		Order: flowtest.AnyOrder, Outputs: func(int) int { return 3 },
	}, func(in flow.Source[int]) flow.Source[int] { return operators.FanIn(operators.FanOut(in, 3)...) })
}

func TestOperatorPartition(t *testing.T) {
	mod := func(v int) int { return v % 10 }
	flowtest.TestOperator(t, flowtest.Traits[int]{Order: flowtest.ByKey, Key: mod},
		func(in flow.Source[int]) flow.Source[int] {
			return operators.ByKey(in, 3, mod, func(shard flow.Source[int]) flow.Source[int] {
				return mapped(shard, same, flow.Async())
			})
		})
}
