package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
)

// run runs the parts of a role until ctx is done, or one of them fails.
func run(ctx context.Context, o options, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "game", rdb, log)
	defer end()
	var parts []app.Part
	if o.Works() {
		parts = append(parts, app.Func(func(ctx context.Context) error { return runWorld(ctx, rdb, o, log) }))
	}
	if o.Serves() {
		h := newHub(rdb, log)
		fmt.Println(h.Graph().Mermaid())
		show.Hub(h)
		parts = append(parts, h, cli.Server(o.Address(), cli.Secure(handler(h)), web.ServerConfig{}, log))
	}
	return app.Run(ctx, parts...)
}

// runWorld runs the world while it is ours.
func runWorld(ctx context.Context, rdb redis.UniversalClient, o options, log *slog.Logger) error {
	own := newOwner(rdb)
	g := func() *flow.Graph { return worldGraph(rdb, o, own, flow.Log(log)) }
	fmt.Println(g().Mermaid())
	for {
		ours, err := own.claim(ctx, func() { log.Info("another process has the world: standing by") })
		if err != nil || !ours {
			return err
		}
		if err = g().Run(ctx); !errors.Is(err, errLost) {
			return errors.Join(err, own.yield(ctx))
		}
		log.Warn(errLost.Error())
	}
}
