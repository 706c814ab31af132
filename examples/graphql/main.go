// Graphql serves a small library by GraphQL: books, authors, and reviews that arrive as they are
// written. Services answer the queries and mutations. Subscriptions over WebSockets resume at any
// process, by a cursor, and miss nothing.
//
//	go run ./examples/graphql                   # needs nothing installed; open http://localhost:3007/
//	go run ./examples/graphql -h                # all flags
//
// As processes, any number of each:
//
//	export REDIS_URL=redis://localhost:6379
//	go run ./examples/graphql -role service
//	go run ./examples/graphql -role web -addr localhost:3007
//	go run ./examples/graphql -role web -addr localhost:3008
//
// The library is github.com/graph-gophers/graphql-go. It takes the schema as text and plain methods
// as resolvers, and checks one against the other at the start. It runs subscriptions from a
// channel, and limits depth, selections and length. gqlgen, the usual choice for large schemas,
// would add thousands of generated lines to this example. The loaders are
// github.com/vikstrous/dataloadgen. GraphiQL loads scripts and styles that a strict
// Content-Security-Policy forbids, so the page is a small one of our own, which works offline.
package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/web"
)

func main() {
	line := cli.NewLine("localhost:3007", "service", "web")
	cli.Parse(
		"Graphql serves a small library by GraphQL: a page at http://localhost:3007/, and /graphql for queries,\n"+
			"mutations and subscriptions. REDIS_URL names the Redis server; without it a private one is started.\n\n"+
			"Usage: graphql [flags]\n",
		0,
		line.Check,
	)
	cli.Main("graphql", func(ctx context.Context, log *slog.Logger) error { return run(ctx, line, log) })
}

func run(ctx context.Context, line *cli.Line, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "graphql", rdb, log)
	defer end()
	var parts []app.Part // the last ends first
	if line.Works() {
		pub := events.NewPublisher(rdb, topic, events.PublisherConfig{})
		svc := service(rdb, pub, log)
		fmt.Println(svc.Graph().Mermaid())
		show.Service(svc)
		parts = append(parts, app.Closing(pub.Close), svc)
	}
	if line.Serves() {
		client := gateways.NewClient(rdb, topic, gateways.ClientConfig{Log: log})
		show.Client(client)
		api := newAPI(client, rdb, log)
		parts = append(parts, app.Closing(client.Close), app.Closing(api.close),
			cli.Server(line.Address(), api.routes(), web.ServerConfig{Log: log}, log))
	}
	return app.Run(ctx, parts...)
}
