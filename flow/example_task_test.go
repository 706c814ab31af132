package flow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// A background loop is part of the graph. It starts with the graph and cleans up when the graph
// drains.
func ExampleTask() {
	watch := func(_ context.Context, stop <-chan struct{}) error {
		fmt.Println("watching")
		<-stop
		fmt.Println("cleaned up")
		return nil
	}
	g := flow.New("shop", flow.Task("watch", watch))
	r, err := g.Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := r.Drain(context.Background())
	fmt.Println(report.Graph, "ended:", err)
	// Unordered output:
	// watching
	// cleaned up
	// shop ended: <nil>
}

// Every turns a function into a loop that calls it at an interval.
func ExampleEvery() {
	ctx, stop := context.WithCancel(context.Background())
	n := 0
	err := flow.New("shop", flow.Task("sweep", flow.Every(time.Millisecond, func(context.Context, time.Time) error {
		if n++; n == 3 {
			stop()
		}
		return nil
	}))).Run(ctx)
	fmt.Println("swept at least three times:", n >= 3, err)
	// Output: swept at least three times: true <nil>
}
