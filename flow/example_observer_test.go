package flow_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// names is an observer that keeps the names of graphs.
type names []string

func (n *names) Started(r *flow.Running) { *n = append(*n, r.Graph().Name()) }

func ExampleWithObserver() {
	var seen names
	ctx := flow.WithObserver(context.Background(), &seen)
	if err := flow.New("orders", flow.To(from(1, 2), discard[int]())).Run(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(seen)
	// Output: [orders]
}

func ExampleRunning_Graph() {
	r, err := flow.New("orders", flow.To(from(1, 2), discard[int]())).Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Graph().Name(), r.Wait())
	// Output: orders <nil>
}
