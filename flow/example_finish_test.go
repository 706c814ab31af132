package flow_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// until passes on messages up to the word, and ends the source there. Its entries behind the word go
// back.
func ExampleFinish() {
	orders := queueOf("tea", "milk", "stop", "honey", "bread")
	orders.deliveries = 1
	head := flow.Step(orders.source(), "until-stop", func() flow.StepFunc[string, string] {
		over := false
		return func(ctx context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			if over = over || m.Value == "stop"; over {
				return m, false, flow.Finish(ctx)
			}
			return m, true, nil
		}
	})
	err := flow.New("shop", flow.To(head, printing[string]())).Run(context.Background())
	fmt.Println("acked:", orders.acked, "error:", err)
	// Output:
	// tea
	// milk
	// acked: [tea milk] error: <nil>
}

// A stage can tell the messages of several sources apart, also behind a FanIn.
func ExampleOrigins() {
	shop, web := queueOf("tea"), queueOf("jam")
	both := flow.Merge("both", []flow.Source[string]{shop.source(flow.Name("shop")), web.source(flow.Name("web"))})
	counted := flow.Step(both, "count", func() flow.StepFunc[string, string] {
		counts := make(map[string]int)
		return func(ctx context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			counts[m.Origin()]++
			done := len(counts) == len(flow.Origins(ctx))
			return flow.Derive(m, fmt.Sprint(counts)), done, nil
		}
	})
	if err := flow.New("orders", flow.To(counted, printing[string]())).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// map[shop:1 web:1]
}

// Origin tells which source a message comes from.
func ExampleMessage_Origin() {
	shop, web := queueOf("tea"), queueOf("jam")
	both := flow.Merge("both", []flow.Source[string]{shop.source(flow.Name("shop")), web.source(flow.Name("web"))})
	webOnly := flow.Step(both, "web-only", func() flow.StepFunc[string, string] {
		return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			return m, m.Origin() == "web", nil
		}
	})
	if err := flow.New("orders", flow.To(webOnly, printing[string]())).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// jam
}
