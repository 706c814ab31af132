package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Order is an order in the stream.
type Order struct {
	Number   int `json:"number"`
	Customer int `json:"customer"`
	Cents    int `json:"cents"`
}

// newBilling returns the pipeline. It calls progress with the number of orders that are stored or
// dead.
func newBilling(rdb redis.UniversalClient, db *database, progress func(billed int)) *flow.Graph {
	billed := 0
	orders := source.Stream(rdb, source.StreamConfig[Order]{Key: "orders", Group: "billing"})
	invoices := operators.Map(orders, invoiceFor, flow.Name("invoice"), flow.Workers(32))
	store := sink.Batches(db.insert, flow.Name("store"), flow.ChunkSize(100), flow.Within(500*time.Millisecond))
	return flow.New("billing", flow.To(invoices, store), flow.OnEvent(flow.Hooks{
		Committed: func(_ string, settled []flow.Settlement) { billed += len(settled); progress(billed) },
	}))
}

// shop writes orders. Two of them will have no valid amount.
func shop(rdb redis.UniversalClient, n int) *flow.Graph {
	list := make([]Order, n)
	for i := range list {
		list[i] = Order{Number: i + 1, Customer: 1 + i%7, Cents: 100 * (i + 1)}
	}
	list[n/3].Cents, list[n/2].Cents = 0, -5
	return flow.New("shop", flow.To(source.Of(list...), sink.Stream(rdb, sink.StreamConfig[Order]{Key: "orders"})))
}

// invoiceFor looks up the customer, which takes a while.
func invoiceFor(ctx context.Context, o Order) (Invoice, error) {
	if err := flow.Sleep(ctx, 20*time.Millisecond); err != nil {
		return Invoice{}, err
	}
	return Invoice{Number: o.Number, Name: fmt.Sprintf("customer %d", o.Customer), Cents: o.Cents}, nil
}
