// Billing takes orders from a Redis stream, looks up each customer, which is slow, and inserts
// invoices into a database in batches of 100, or at least every 500 ms. The database refuses two
// invoices: they become dead letters, and all others are stored. The example shows a whole service:
// a pipeline, an HTTP server with probes, and a clean shutdown.
//
//	go run ./examples/billing                                      # needs nothing installed; ends when all is billed
//	REDIS_URL=redis://localhost:6379 go run ./examples/billing     # start it twice: both share the orders
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/embedded"
)

func main() {
	orders := flag.Int("orders", 250, "`number` of orders to write first; 0 bills what is in the stream until Ctrl-C")
	addr := flag.String("addr", "localhost:3005", "`address` of the server: GET /healthz and /readyz")
	flag.Parse()
	if flag.NArg() > 0 || *orders < 0 {
		fmt.Fprintln(os.Stderr, "billing: unknown argument, or a negative -orders (billing -h lists the flags)")
		os.Exit(2)
	}
	app.Main("billing", func(ctx context.Context) error { return run(ctx, *orders, *addr) })
}

func run(ctx context.Context, orders int, addr string) error {
	rdb, where, done, err := embedded.Open(ctx, os.Getenv("REDIS_URL")) // in a service: redisio.Connect
	if err != nil {
		return err
	}
	defer done()
	slog.Info(where)

	ctx, _, end := cli.Inspect(ctx, "billing", rdb, slog.Default())
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	db := newDatabase()
	billing := newBilling(rdb, db, func(billed int) {
		if orders > 0 && billed >= orders {
			cancel() // all orders are stored or dead: end as after Ctrl-C
		}
	})
	fmt.Println(billing.Mermaid())

	mux := http.NewServeMux()
	mux.Handle("GET /healthz", web.Healthy())
	parts := []app.Part{
		billing,
		&app.Server{Addr: addr, Handler: mux, Listening: func(url string) { slog.Info("serving " + url) }},
	}
	if orders > 0 {
		parts = append(parts, shop(rdb, orders))
	}
	if err := app.Run(ctx, parts...); err != nil {
		return err
	}
	fmt.Printf("stored    %d invoices in %d inserts\n", len(db.rows), db.inserts)
	for letter, err := range dead.All(context.WithoutCancel(ctx), rdb, "orders:dead", dead.Filter{}) {
		if err != nil {
			return err
		}
		data, _ := letter.Original.Get("data")
		fmt.Printf("refused   %s: %s\n", data, letter.Reason.Error)
	}
	return nil
}
