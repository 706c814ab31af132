package operators_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/state"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func add(_ context.Context, sum, v int) (int, error) { return sum + v, nil }

func ExampleScan() {
	balances := operators.Scan(source.Of(100, -30, 5), 0, add)
	exec(flow.To(balances, sink.Func(printed[int])))
	// Output:
	// 100
	// 70
	// 75
}

func ExampleFold() {
	total := operators.Fold(source.Of(100, -30, 5), 0, add)
	exec(flow.To(total, sink.Func(printed[int])))
	// Output:
	// 75
}

func ExampleTake() {
	first := operators.Take(source.Of("a", "b", "c", "d"), 2)
	exec(flow.To(first, sink.Func(printed[string])))
	// Output:
	// a
	// b
}

func ExampleTakeWhile() {
	head := operators.TakeWhile(
		source.Of("From: me", "To: you", "", "Hello"),
		func(line string) bool { return line != "" },
	)
	exec(flow.To(head, sink.Func(printed[string])))
	// Output:
	// From: me
	// To: you
}

func ExampleDrop() {
	rows := operators.Drop(source.Of("name,price", "tea,3", "milk,1"), 1)
	exec(flow.To(rows, sink.Func(printed[string])))
	// Output:
	// tea,3
	// milk,1
}

func ExampleDropWhile() {
	code := operators.DropWhile(source.Of("# a comment", "# another", "x = 1", "# kept"), func(line string) bool {
		return strings.HasPrefix(line, "#")
	})
	exec(flow.To(code, sink.Func(printed[string])))
	// Output:
	// x = 1
	// # kept
}

func ExampleDistinct() {
	visitors := operators.Distinct(source.Of("ann", "bob", "ann", "eve", "bob"), strings.ToUpper, 10_000)
	exec(flow.To(visitors, sink.Func(printed[string])))
	// Output:
	// ann
	// bob
	// eve
}

// Three failed logins in a minute cause an alert.
func ExampleStateful() {
	users := source.Of("ann", "bob", "ann", "ann", "bob")
	alerts := operators.Stateful(
		users,
		func(user string) string { return user },
		&state.Memory[string, int]{MaxKeys: 10_000},
		func(_ context.Context, c *state.Cell[string, int], _ string, emit func(string)) error {
			n, known := c.Get()
			if !known {
				c.WakeAt(time.Now().Add(time.Minute))
			}
			c.Set(n + 1)
			if n+1 == 3 {
				emit("three failed logins of " + c.Key())
			}
			return nil
		},
		func(_ context.Context, c *state.Cell[string, int], _ func(string)) error {
			c.Delete()
			return nil
		},
	)
	exec(flow.To(alerts, sink.Func(func(_ context.Context, alert string) error {
		_, err := fmt.Println(alert)
		return err
	})))
	// Output:
	// three failed logins of ann
}
