// Hello is an HTTP API on a Redis stream: a server turns HTTP requests into events, a processor
// answers them, and neither knows where the other runs. It shows a service, a client, web.HTTP
// and web.Serve.
//
//	go run ./examples/hello                                # both in one process; needs nothing installed
//	open http://localhost:3000/                            # {"ok":"received message!"}
//
// As separate processes on a server of yours, with as many processors as you like:
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/hello -role processor
//	REDIS_URL=redis://localhost:6379 go run ./examples/hello -role server
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
)

func main() {
	o := parse()
	cli.Main("hello", func(ctx context.Context, log *slog.Logger) error { return hello(ctx, o, log) })
}

func hello(ctx context.Context, o *cli.Line, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "hello", rdb, log)
	defer end()
	var parts []app.Part // end in reverse order: requests at the server need the processor
	if o.Works() {
		svc := processor(rdb, log)
		fmt.Println(svc.Graph().Mermaid())
		show.Service(svc)
		parts = append(parts, svc)
	}
	if o.Serves() {
		client := gateways.NewClient(rdb, topic, gateways.ClientConfig{Log: log})
		mux := http.NewServeMux()
		route := web.HTTP(client, "helloWorldEvent")
		mux.Handle("GET /{$}", route)
		show.Client(client).Route(route)
		parts = append(parts, app.Closing(client.Close), cli.Server(o.Address(), mux, web.ServerConfig{Log: log}, log))
	}
	return app.Run(ctx, parts...)
}
