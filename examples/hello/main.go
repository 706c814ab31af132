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
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/embedded"
)

func main() {
	logging.Disable() // go-redis' own, which repeats what our errors say
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C is not caught: it ends the process at once
	if err := hello(ctx, o, console(os.Stderr)); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func hello(ctx context.Context, o options, log zerolog.Logger) (err error) {
	var l net.Listener
	if o.serves() { // a port that is taken is no reason to do all the rest
		if l, err = o.listen(); err != nil {
			return err
		}
		defer l.Close()
	}
	rdb, where, closeRedis, err := embedded.Open(ctx, o.redis)
	if err != nil {
		return err
	}
	defer closeRedis()
	log.Info().Msg(where)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if o.processes() {
		g := processor(rdb, log).Graph()
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
	client := gateways.NewClient(rdb, topic, gateways.ClientConfig{Log: log})
	defer client.Close(context.WithoutCancel(ctx))
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", gateways.HTTP(client, "helloWorldEvent"))
	log.Info().Msgf("open %s in a browser; Ctrl-C ends", o.url(l))
	return gateways.Serve(ctx, l, mux, gateways.ServerConfig{Log: log})
}
