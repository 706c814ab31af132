package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/examples/internal/web"
	"github.com/streamerson/streamerson-go/flow"
)

// run runs the parts of a role until ctx is done, or one of them fails.
func run(ctx context.Context, o options, log *slog.Logger) error {
	p, err := cli.Open(ctx, o.Address(), log)
	if err != nil {
		return err
	}
	defer p.Close()
	var parts []func(context.Context) error
	if o.Works() {
		parts = append(parts, func(ctx context.Context) error { return runWorld(ctx, p.Redis, o, log) })
	}
	if o.Serves() {
		h := newHub(p.Redis, log)
		fmt.Println(h.Graph().Mermaid())
		parts = append(parts, func(ctx context.Context) error { return web.Serve(ctx, p.Listener, p.URL, h, handler(h), log) })
	}
	return web.Together(ctx, parts...)
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
