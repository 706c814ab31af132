// Crud is a REST resource on a Redis stream, with a page that uses it. The to-do list (package
// todo) knows nothing of Redis or HTTP. A service answers requests with it, and typed routes bind
// requests and refuse invalid ones. It shows web.Route, Answer, errors with statuses, ETags,
// and how a service layer stays plain Go.
//
//	go run ./examples/crud                                  # needs nothing installed
//	open http://localhost:3000/
//	curl -i localhost:3000/todos -H 'Content-Type: application/json' -d '{"title":"buy milk"}'
//	curl -i localhost:3000/todos/1 -X PATCH -H 'Content-Type: application/json' -H 'If-Match: "1"' -d '{"done":true}'
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"

	"github.com/streamerson/streamerson-go/examples/crud/todo"
	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
)

const topic = "todos"

func main() {
	addr := flag.String("addr", "localhost:3000", "`address` the server listens on")
	cli.Parse("Crud serves a list of things to do: a page at http://localhost:3000/, and a REST resource at /todos.\n"+
		"The list is lost when the program ends. REDIS_URL names the Redis server; without it a private one\n"+
		"is started.\n\nUsage: crud [flags]\n", 0)
	cli.Main("crud", func(ctx context.Context, log *slog.Logger) error { return crud(ctx, *addr, log) })
}

func crud(ctx context.Context, addr string, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "crud", rdb, log)
	defer end()
	svc := gateways.NewService(rdb, topic, gateways.ServiceConfig{Log: log})
	handle(svc, todo.New())
	fmt.Println(svc.Graph().Mermaid())
	client := gateways.NewClient(rdb, topic, gateways.ClientConfig{Log: log})
	show.Service(svc).Client(client)
	// The server ends first, because its requests in flight need the service.
	return app.Run(
		ctx,
		svc,
		app.Closing(client.Close),
		cli.Server(addr, routes(client), web.ServerConfig{Log: log}, log),
	)
}
