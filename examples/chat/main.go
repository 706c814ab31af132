// Chat serves chat rooms in a browser, with presence, history, direct messages and reserved names.
// It shows sockets as a source and a sink of graphs: workers moderate, store and deliver the
// messages of sockets, no matter which process a socket is connected to.
//
//	go run ./examples/chat       # then open the page in two windows; needs nothing installed
//	go run ./examples/chat -h    # all flags
//
// As separate processes, any number of each. Stop a gateway: its pages continue with the other one,
// and miss nothing:
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/chat -role worker
//	REDIS_URL=redis://localhost:6379 go run ./examples/chat -role gateway -addr localhost:3002
//	REDIS_URL=redis://localhost:6379 go run ./examples/chat -role gateway -addr localhost:3012
//
// Workers keep the order of each room within a process. With several worker processes, two lines
// sent at the same moment may swap, in the same way for all users.
package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
)

func main() {
	o := parse()
	cli.Main("chat", func(ctx context.Context, log *slog.Logger) error { return run(ctx, o, log) })
}

func run(ctx context.Context, o *cli.Line, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "chat", rdb, log)
	defer end()
	var parts []app.Part
	if o.Works() {
		g := workers(rdb, flow.Log(log))
		fmt.Println(g.Mermaid())
		parts = append(parts, g)
	}
	if o.Serves() {
		site := newSite(rdb, log)
		fmt.Println(site.hub.Graph().Mermaid())
		show.Hub(site.hub)
		parts = append(parts, site.hub, cli.Server(o.Address(), cli.Secure(site), web.ServerConfig{}, log))
	}
	return app.Run(ctx, parts...)
}
