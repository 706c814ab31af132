package flow_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// The code of the README is in this file, word for word: a test compares them.

// A first pipeline: from one Redis stream to another.
func Example() {
	server, failed := embedded.Start() // or your own Redis
	if failed != nil {
		panic(failed)
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()

	ctx, cancel := context.WithCancel(context.Background())
	for _, line := range []string{"hello", "world"} {
		rdb.XAdd(ctx, &redis.XAddArgs{Stream: "lines", Values: []string{"data", line}})
	}
	go func() { // a reader tails the output and leaves after two lines
		tail := source.Tail(rdb, source.TailConfig[string]{Key: "loud", Start: redisio.StartBeginning()})
		heard := 0
		for line, err := range flow.Values(ctx, tail) {
			if err != nil {
				return
			}
			fmt.Println(line)
			if heard++; heard == 2 {
				cancel() // what Ctrl-C would do in a program
			}
		}
	}()

	lines := source.Stream(rdb, source.StreamConfig[string]{Key: "lines", Group: "shout"})
	loud := operators.Map(lines, flow.Pure(strings.ToUpper))
	out := sink.Stream(rdb, sink.StreamConfig[string]{Key: "loud"})
	err := flow.New("shout", flow.To(loud, out)).Run(ctx) // nil after a clean drain
	fmt.Println(err)
	// Output:
	// HELLO
	// WORLD
	// <nil>
}

type (
	// Order and Invoice stand for the types of a service.
	Order   struct{ Customer string }
	Invoice struct{ Customer string }
)

func price(context.Context, Order) (Invoice, error) { return Invoice{}, nil }
func post(context.Context, []Invoice) error         { return nil }
func customer(i Invoice) string                     { return i.Customer }

// Branches: failures as values, copies, a sub-pipeline for each customer.
func Example_billing() {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	orders := source.Stream(rdb, source.StreamConfig[Order]{Key: "orders", Group: "billing"})

	priced, failed := operators.Try(orders, price, flow.Name("price"), flow.Workers(8))
	copies := operators.FanOut(priced, 2)
	batches := operators.ByKey(copies[0], 4, customer,
		func(shard flow.Source[Invoice]) flow.Source[[]Invoice] {
			return operators.Batch(shard, 500, time.Second)
		})
	g := flow.New("billing",
		flow.To(batches, sink.Func(post), flow.OnFault(flow.Retry(5, time.Second, flow.Stop))),
		flow.To(copies[1], sink.Stream(rdb, sink.StreamConfig[Invoice]{Key: "invoices", MaxLen: 1e6})),
		flow.To(failed, sink.Stream(rdb, sink.StreamConfig[flow.Failure[Order]]{Key: "orders.failed"})))

	fmt.Println(g.Validate())
	// Output: <nil>
}
