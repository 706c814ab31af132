package flow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// A drain that takes too long is cut short. The contexts of the handlers are cancelled, the error
// names the stages that were working, and unfinished entries go back to their source.
func ExampleDrainTimeout() {
	ctx, interrupt := context.WithCancel(context.Background())
	orders := queueOf("tea", "milk", "honey")
	slow := mapTo(orders.source(), func(ctx context.Context, order string) (string, error) {
		interrupt()
		<-ctx.Done() // a call that takes longer than the drain may
		fmt.Println("told:", context.Cause(ctx))
		return order, ctx.Err()
	}, flow.Name("pack"))
	err := flow.New("shop", flow.To(slow, discard[string]()),
		flow.DrainTimeout(10*time.Millisecond), flow.AckTimeout(time.Minute)).Run(ctx)

	var cut *flow.DrainError
	if errors.As(err, &cut) && errors.Is(err, flow.ErrDrainTimeout) {
		fmt.Println("stuck:", cut.Stuck)
		fmt.Println("given back:", cut.Released)
	}
	fmt.Println("left in the queue:", orders.left())
	// Output:
	// told: flow: drain timeout
	// stuck: [pack (3 messages)]
	// given back: 3
	// left in the queue: 3
}

// Go cannot end a handler that ignores its context. The graph waits at most KillGrace for it, gives
// back its entries, and reports it.
func ExampleKillGrace() {
	ctx, interrupt := context.WithCancel(context.Background())
	orders := queueOf("tea")
	forever := make(chan struct{})
	defer close(forever)
	deaf := mapTo(orders.source(), func(_ context.Context, order string) (string, error) {
		interrupt()
		<-forever
		return order, nil
	}, flow.Name("deaf"))
	err := flow.New("shop", flow.To(deaf, discard[string]()),
		flow.DrainTimeout(5*time.Millisecond), flow.KillGrace(5*time.Millisecond)).Run(ctx)

	var cut *flow.DrainError
	fmt.Println(errors.As(err, &cut), cut.Stuck, "given back:", cut.Released)
	// Output:
	// true [deaf (1 message)] given back: 1
}

// A request handler starts a drain without waiting for its end.
func ExampleRunning_StartDrain() {
	g := flow.New("shop", flow.To(queueOf("tea", "milk").source(), discard[string]()))
	r, err := g.Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	r.StartDrain()
	fmt.Println(r.Wait(), r.State())
	// Output: <nil> ended
}
