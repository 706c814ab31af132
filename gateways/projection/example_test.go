package projection_test

import (
	"context"
	"fmt"
	"log"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/projection"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// The sum of the deposits of each account is a projection. It is rebuilt while it serves.
func ExampleNew() {
	srv, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	rdb := srv.Client()
	defer rdb.Close()
	ctx := context.Background()

	type Deposited struct{ Amount int64 }
	store, err := eventstore.New(rdb, eventstore.Config[Deposited]{Name: "bank"})
	if err != nil {
		log.Fatal(err)
	}
	balances, err := projection.New(rdb, store, projection.Config[Deposited]{
		Name: "balances", Version: 1,
		Apply: func(_ context.Context, tx *view.Tx, e eventstore.Event[Deposited]) error {
			tx.HIncrBy("balance", e.Aggregate, e.Value.Amount)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	running, err := balances.Graph(flow.Faults(flow.DefaultPolicy)).Start(ctx) // or app.Run(ctx, balances, …)
	if err != nil {
		log.Fatal(err)
	}
	defer running.Stop()

	last, err := store.Append(ctx, "ann", eventstore.None, Deposited{5}, Deposited{7})
	if err != nil {
		log.Fatal(err)
	}
	if err := balances.Wait(ctx, "ann", last); err != nil { // to read what was just written
		log.Fatal(err)
	}
	show := func() view.Build {
		live, err := balances.Live(ctx)
		if err != nil {
			log.Fatal(err)
		}
		balance, err := rdb.HGet(ctx, live.Key(store.Partition("ann"), "balance"), "ann").Result()
		fmt.Println(live.Build, balance, err)
		return live.Build
	}
	before := show()
	if _, err := balances.Rebuild(ctx); err != nil {
		log.Fatal(err)
	}
	for {
		if live, err := balances.Live(ctx); err != nil || live.Build != before {
			break
		}
	}
	show()
	// Output:
	// 1.1 12 <nil>
	// 1.2 12 <nil>
}
