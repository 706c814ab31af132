package flow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// A stage that records shipped orders in a ledger, after the shipping and before the order is
// acknowledged. A second order for the same item ends like the first.
func ExampleWatch() {
	orders := queueOf("tea", "milk", "tea")
	orders.deliveries = 1
	ledger := flow.NewWatcher(func(_ context.Context, ends []flow.End) error {
		for _, e := range ends {
			fmt.Println("ledger:", e.Tag, e.Outcome)
		}
		return nil
	})
	noted := flow.Step(orders.source(), "note", func() flow.StepFunc[string, string] {
		open := make(map[string]flow.Watched)
		return func(ctx context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			if first, known := open[m.Value]; known && flow.Follow(m, first) {
				return m, false, nil
			}
			m, watched := flow.Watch(ctx, m, ledger, m.Value)
			open[m.Value] = watched
			return m, true, nil
		}
	})
	// The first tea is shipped when all orders are read, so the second can follow it.
	ship := each("ship", func(v string) { fmt.Println("shipped:", v) }, flow.Within(time.Minute))
	err := flow.New("shop", flow.To(noted, ship)).Run(context.Background())
	fmt.Println("acked:", orders.acked, "error:", err)
	// Output:
	// shipped: tea
	// shipped: milk
	// ledger: tea acked
	// ledger: milk acked
	// acked: [tea milk tea] error: <nil>
}

// A watcher that fails is called again, and nothing is settled before it has recorded the ends.
func ExampleNewWatcher() {
	orders := queueOf("tea")
	tries := 0
	w := flow.NewWatcher(func(context.Context, []flow.End) error {
		if tries++; tries < 3 {
			return errors.New("the ledger is away")
		}
		fmt.Println("noted at try", tries, "acked before:", orders.acked)
		return nil
	})
	watched := flow.Step(orders.source(), "watch", func() flow.StepFunc[string, string] {
		return func(ctx context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			m, _ = flow.Watch(ctx, m, w, nil)
			return m, true, nil
		}
	})
	err := flow.New("shop", flow.To(watched, discard[string]())).Run(context.Background())
	fmt.Println("acked:", orders.acked, "error:", err)
	// Output:
	// noted at try 3 acked before: []
	// acked: [tea] error: <nil>
}
