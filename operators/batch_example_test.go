package operators_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func ExampleBatchWeighted() {
	batches := operators.BatchWeighted(source.Of("aa", "bb", "cccc", "ddddddd", "e"), 100, time.Minute, 6,
		func(s string) int { return len(s) })
	exec(flow.To(batches, sink.Func(printed[[]string])))
	// Output:
	// [aa bb]
	// [cccc]
	// [ddddddd]
	// [e]
}

func ExampleBatchAdaptive() {
	batches := operators.BatchAdaptive(source.Of(1, 2, 3, 4, 5, 6, 7), 4, time.Second)
	all := operators.Unbatch(batches)
	exec(flow.To(all, sink.Func(printed[int])))
	// Output:
	// 1
	// 2
	// 3
	// 4
	// 5
	// 6
	// 7
}

// The names of several users are looked up with one call. An unknown user fails alone.
func ExampleMapBatch() {
	names := map[int]string{1: "alice", 3: "carol"}
	lookUp := func(_ context.Context, ids []int) ([]string, error) {
		found, errs := make([]string, len(ids)), make([]error, len(ids))
		unknown := false
		for i, id := range ids {
			var known bool
			if found[i], known = names[id]; !known {
				errs[i], unknown = flow.Skip, true
			}
		}
		if unknown {
			return found, &flow.WriteError{Errs: errs}
		}
		return found, nil
	}
	batches := operators.Batch(source.Of(1, 2, 3), 100, time.Second)
	exec(flow.To(operators.MapBatch(batches, lookUp), sink.Func(printed[string])))
	// Output:
	// alice
	// carol
}

// The insert refuses all rows if one of them is bad. Bisect finds that row.
func ExampleMapBatch_bisect() {
	insert := func(_ context.Context, rows []string) ([]int, error) {
		if strings.Contains(strings.Join(rows, ""), "bad") {
			return nil, errors.New("constraint violated")
		}
		return make([]int, len(rows)), nil
	}
	dropped := flow.OnFault(func(f *flow.Fault) flow.Decision {
		fmt.Println(f.Err)
		return flow.Drop(f)
	})
	batches := operators.Batch(source.Of("a", "b", "bad", "c"), 100, time.Second)
	ids := operators.MapBatch(batches, flow.BisectResults(insert), dropped)
	exec(flow.To(ids, sink.Func(printed[int])))
	// Unordered output:
	// 0
	// 0
	// constraint violated
	// 0
}
