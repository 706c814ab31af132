package flow_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// A drain finishes messages that a handler has begun. Waiting messages go back to the source if it
// can give them to other readers.
func ExampleTraits_givesBack() {
	ctx, interrupt := context.WithCancel(context.Background())
	orders := queueOf("tea", "milk", "honey")
	back := make(chan struct{})
	slow := mapTo(orders.source(flow.Traits{GivesBack: true}), func(_ context.Context, order string) (string, error) {
		interrupt() // the others wait behind this one
		<-back      // and do not wait for it to end
		return order, nil
	}, flow.Name("pack"))
	givenBack := flow.OnEvent(flow.Hooks{Committed: func(_ string, settled []flow.Settlement) {
		if settled[0].Unbegun {
			close(back)
		}
	}})
	running, err := flow.New("shop", flow.To(slow, discard[string]()), givenBack).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = running.Wait()
	report := running.Report()
	fmt.Printf("settled: %d, given back: %d, of these not begun: %d, error: %v\n",
		report.Settled, report.Released, report.Unbegun, err)
	fmt.Println("left in the queue:", orders.left())
	// Output:
	// settled: 1, given back: 2, of these not begun: 2, error: <nil>
	// left in the queue: 2
}

// A stage that only passes messages on does not begin them. At a drain, the messages that wait
// behind it go back too.
func ExampleTraits_passes() {
	ctx, interrupt := context.WithCancel(context.Background())
	orders := queueOf("tea", "milk", "honey")
	counted := flow.Step(orders.source(flow.Traits{GivesBack: true}), "watch", func() flow.StepFunc[string, string] {
		return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			return m, true, nil
		}
	}, flow.Traits{Passes: true})
	release := make(chan struct{})
	slow := mapTo(counted, func(_ context.Context, order string) (string, error) {
		interrupt()
		<-release
		return order, nil
	}, flow.Name("pack"), flow.Async(), flow.ChunkSize(1))
	running, err := flow.New("shop", flow.To(slow, discard[string]())).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	<-ctx.Done()
	close(release)
	err = running.Wait()
	fmt.Printf("settled and given back: %d, error: %v\n", running.Report().Settled+running.Report().Released, err)
	// Output:
	// settled and given back: 3, error: <nil>
}
