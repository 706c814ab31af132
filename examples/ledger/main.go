// Ledger keeps accounts by event sourcing. Commands over HTTP append events to a store in Redis, and
// an append that comes too late is a conflict: 409, or decided again if the caller expected no
// version. Balances and statements are projections. One of them is rebuilt while the other serves.
//
//	go run ./examples/ledger                   # needs nothing installed; open http://localhost:3009/
//	go run ./examples/ledger -check            # compares the projections with plain loops over the events
//	go run ./examples/ledger -h                # all flags
//
// Several processes can share a server. Any of them takes commands, one computes the projections, and
// the others take over if it dies:
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/ledger -addr localhost:3009
//	REDIS_URL=redis://localhost:6379 go run ./examples/ledger -addr localhost:3010
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
)

type options struct {
	addr      string
	name      string
	accounts  int
	transfers int
	check     bool
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "localhost:3009", "`address` the server listens on")
	flag.StringVar(&o.name, "name", "bank", "`name` of the store, which is kept in Redis")
	flag.IntVar(&o.accounts, "accounts", 6, "`number` of accounts to open if there are none")
	flag.IntVar(&o.transfers, "transfers", 2000, "`number` of transfers that -check makes first")
	flag.BoolVar(&o.check, "check", false, "make transfers, compare the projections with plain loops, and end")
	usage := "Ledger keeps accounts by event sourcing, at http://localhost:3009/.\n" +
		"REDIS_URL names the Redis server; without it a private one is started, and ends with the program.\n" +
		"\nUsage: ledger [flags]\n"
	cli.Parse(usage, 0, func() error {
		if o.accounts < 2 || o.accounts > 100 || o.transfers < 0 {
			return errors.New("-accounts is 2 to 100, and -transfers is not negative")
		}
		return nil
	})
	cli.Main("ledger", func(ctx context.Context, log *slog.Logger) error { return run(ctx, o, log) })
}

func run(ctx context.Context, o options, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, _, end := cli.Inspect(ctx, "ledger", rdb, log)
	defer end()
	b, err := newBank(rdb, o.name)
	if err != nil {
		return err
	}
	if err := b.begin(ctx, o.accounts); err != nil {
		return err
	}
	v, err := newViews(rdb, b)
	if err != nil {
		return err
	}
	fmt.Println(v.balances.Graph().Mermaid())
	if o.check {
		return check(ctx, os.Stdout, b, v, o.transfers)
	}
	return app.Run(ctx, v.balances, v.statements,
		cli.Server(o.addr, cli.Secure(routes(b, v, log)), web.ServerConfig{Log: log}, log))
}
