package operators_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// runs runs a graph of one branch, and prints its error.
func runs(b flow.Branch) {
	if err := flow.New("example", b).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
}

func ExampleNewMergeHub() {
	hub := operators.NewMergeHub[string](16)
	var consumer sync.WaitGroup
	consumer.Go(func() {
		runs(flow.To(hub.Source(), sink.Func(func(_ context.Context, v string) error {
			fmt.Println(v)
			return nil
		})))
	})
	for _, shift := range []string{"early", "late"} { // producers come and go
		runs(flow.To(source.Of(shift+" tea", shift+" cake"), hub.Sink()))
	}
	hub.Close()
	consumer.Wait()
	// Output:
	// early tea
	// early cake
	// late tea
	// late cake
}

func ExampleNewBroadcastHub() {
	hub := operators.NewBroadcastHub[string](16, operators.DropOldest)
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	kitchen, bar := hub.Subscribe(ctx), hub.Subscribe(ctx)
	runs(flow.To(source.Of("tea", "cake"), hub.Sink()))
	hub.Close()
	for name, orders := range map[string]flow.Source[string]{"kitchen": kitchen, "bar": bar} {
		runs(flow.To(orders, sink.Func(func(_ context.Context, v string) error {
			fmt.Println(name, "got", v)
			return nil
		})))
	}
	fmt.Printf("%+v\n", hub.Stats())
	// Unordered output:
	// kitchen got tea
	// kitchen got cake
	// bar got tea
	// bar got cake
	// {Subscribers:2 Queued:0 Dropped:0}
}

func ExampleNewPartitionHub() {
	type order struct{ customer, item string }
	hub := operators.NewPartitionHub(16, func(o order) string { return o.customer })
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	counts := make([]map[string]int, 2) // of each worker: orders by customer
	var workers sync.WaitGroup
	for i := range counts {
		orders := hub.Subscribe(ctx)
		counts[i] = make(map[string]int)
		workers.Go(func() {
			runs(flow.To(orders, sink.Func(func(_ context.Context, o order) error {
				counts[i][o.customer]++
				return nil
			})))
		})
	}
	runs(flow.To(source.Of(order{"Ann", "tea"}, order{"Bob", "tea"}, order{"Ann", "cake"}), hub.Sink()))
	hub.Close()
	workers.Wait()
	for _, customer := range []string{"Ann", "Bob"} {
		fmt.Println(customer, max(counts[0][customer], counts[1][customer]), "by one worker")
	}
	// Output:
	// Ann 2 by one worker
	// Bob 1 by one worker
}
