// Notify shows notifications for a user in a page, live, by server-sent events from a Redis stream.
// It demonstrates events.Publish, sse.New with a feed for each user, a graph that ticks in
// the background, and browsers that resume where they were when the server restarts.
//
//	go run ./examples/notify                    # needs nothing installed; open http://localhost:3001/
//	go run ./examples/notify -h                 # all flags
//
// Several processes can share a server. Each receives everything that any of them publishes, and
// reads it once for all its browsers:
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/notify -addr localhost:3001
//	REDIS_URL=redis://localhost:6379 go run ./examples/notify -addr localhost:3002 -every 0
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
)

func main() {
	addr := flag.String("addr", "localhost:3001", "`address` the server listens on")
	every := flag.Duration("every", 8*time.Second, "how often something is published for everyone; 0 is never")
	usage := "Notify shows notifications as they happen: a page at http://localhost:3001/, fed by server-sent " +
		"events.\n" +
		"REDIS_URL names the Redis server; without it a private one is started, and ends with the program.\n" +
		"\nUsage: notify [flags]\n"
	cli.Parse(usage, 0, func() error {
		if *every < 0 {
			return errors.New("negative -every")
		}
		return nil
	})
	cli.Main("notify", func(ctx context.Context, log *slog.Logger) error { return notify(ctx, *addr, *every, log) })
}

func notify(ctx context.Context, addr string, every time.Duration, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "notify", rdb, log)
	defer end()
	pub := events.NewPublisher(rdb, topic, events.PublisherConfig{MaxLen: 1000})
	publish := events.Publish[Note](pub, "note", gateways.Keyed(func(n Note) string { return n.To }))
	feed := sse.New(rdb, sse.Config{Authenticate: userOf, Feed: feedOf, Log: log})
	show.Events(feed)

	parts := []app.Part{app.Closing(pub.Close), app.Closing(feed.Close)}
	if every > 0 {
		g := ticker(every, publish, log)
		fmt.Println(g.Mermaid())
		parts = append(parts, g)
	}
	site := routes(feed, publish, log)
	return app.Run(ctx, append(parts, cli.Server(addr, site, web.ServerConfig{Log: log}, log))...)
}
