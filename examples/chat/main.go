// Chat is rooms in a browser: who is here, what was said before, one-to-one messages, names that
// nobody else can speak under. It shows sockets as a source and a sink of graphs: what they say is
// moderated, kept and told by workers, whichever processes have the sockets.
//
//	go run ./examples/chat       # then open the page in two windows; needs nothing installed
//	go run ./examples/chat -h    # all flags
//
// As separate processes, any number of each. End a gateway: its pages go on with the other, and miss nothing:
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/chat -role worker
//	REDIS_URL=redis://localhost:6379 go run ./examples/chat -role gateway -addr localhost:3002
//	REDIS_URL=redis://localhost:6379 go run ./examples/chat -role gateway -addr localhost:3012
//
// Workers keep the order of each room within a process. With several of them two lines that come at
// the same moment may change places, for everybody alike.
package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/app"
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
	var parts []app.Part
	if o.Works() {
		g := workers(rdb, flow.Log(log))
		fmt.Println(g.Mermaid())
		parts = append(parts, g)
	}
	if o.Serves() {
		site := newSite(rdb, log)
		fmt.Println(site.hub.Graph().Mermaid())
		parts = append(parts, site.hub, cli.Server(o.Address(), cli.Secure(site), gateways.ServerConfig{}, log))
	}
	return app.Run(ctx, parts...)
}
