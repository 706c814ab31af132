package flow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Each customer's orders are numbered by a stage with a state of its own.
func ExampleNest() {
	orders := queueOf("ann: tea", "bob: milk", "ann: jam")
	customer := func(order string) string { return order[:3] }
	numbered := flow.Nest(orders.source(), "customers", customer, 1000, time.Minute,
		func(of flow.Source[string]) flow.Source[string] {
			return flow.Step(of, "number", func() flow.StepFunc[string, string] {
				n := 0
				return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
					n++
					return flow.Derive(m, fmt.Sprintf("%s is number %d", m.Value, n)), true, nil
				}
			})
		})
	if err := flow.New("shop", flow.To(numbered, printing[string]())).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ann: tea is number 1
	// bob: milk is number 1
	// ann: jam is number 2
}
