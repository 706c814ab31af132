// Hello is an HTTP API on a Redis stream: a server makes requests of what browsers ask, a processor answers them, and neither knows
// where the other runs. It shows a service, a client, gateways.HTTP and gateways.Serve.
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
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways"
)

func main() {
	o := parse()
	cli.Main("hello", func(ctx context.Context, log *slog.Logger) error { return hello(ctx, o, log) })
}

func hello(ctx context.Context, o options, log *slog.Logger) (err error) {
	p, err := cli.Open(ctx, o.address(), log)
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if o.processes() {
		g := processor(p.Redis, log).Graph()
		fmt.Println(g.Mermaid())
		run, failed := g.Start(context.WithoutCancel(ctx)) // it ends last: what the server has under way wants its answers
		if failed != nil {
			return failed
		}
		go func() { <-run.Done(); stop() }() // without it the server has nothing to do
		defer func() { _, failed := run.Drain(context.WithoutCancel(ctx)); err = errors.Join(err, failed) }()
	}
	if !o.serves() {
		<-ctx.Done()
		return nil
	}
	client := gateways.NewClient(p.Redis, topic, gateways.ClientConfig{Log: log})
	defer client.Close(context.WithoutCancel(ctx))
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", gateways.HTTP(client, "helloWorldEvent"))
	log.Info("open " + p.URL + " in a browser; Ctrl-C ends")
	return gateways.Serve(ctx, p.Listener, mux, gateways.ServerConfig{Log: log})
}
