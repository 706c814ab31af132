package events_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/sink"
)

func ExamplePublish() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()

	type Order struct{ ID, Customer string }
	pub := events.NewPublisher(rdb, "orders", events.PublisherConfig{})
	created := events.Publish[Order](pub, "created", gateways.Keyed(func(o Order) string { return o.Customer }))
	fmt.Println(events.Key("orders"), created(ctx, Order{"o-1", "ann"}))

	bill := func(_ context.Context, o Order) error {
		fmt.Println("billed", o.ID)
		cancel()
		return nil
	}
	g := flow.New("billing", flow.To(
		events.Subscribe[Order](
			rdb,
			"orders",
			"created",
			events.SubscribeConfig{Start: redisio.StartBeginning()},
		),
		sink.Func(bill),
	))
	fmt.Println(g.Run(ctx), pub.Close(context.Background()))
	// Output:
	// {orders}:events <nil>
	// billed o-1
	// <nil> <nil>
}
