// Notify sends notifications to users: at once to an inbox in a page, and by mail, push and webhook
// as each user prefers, or collected in a digest. Quiet hours delay them. The providers are
// simulated. They fail, limit their rate, and accept each delivery once.
//
//	go run ./examples/notify                    # needs nothing installed; open http://localhost:3001/
//	go run ./examples/notify -h                 # all flags
//
// It demonstrates events.Publish, and sse.New with a feed for each user. Each channel is a stream
// with a shared rate limit, a circuit breaker, retries and dead letters. Unread counts agree in all
// tabs, and browsers resume where they were when the server restarts.
//
// Several processes can share a server. They share the work, and a user may have tabs at each:
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

const topic = "notify" // of the notes that are published

type options struct {
	addr         string
	every, quiet time.Duration
	fail         float64
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "localhost:3001", "`address` the server listens on")
	flag.DurationVar(&o.every, "every", 8*time.Second, "how often something is published for everyone; 0 is never")
	flag.DurationVar(&o.quiet, "quiet", 5*time.Second, "a digest is sent when a user has got nothing for this `time`")
	flag.Float64Var(&o.fail, "fail", 0.1, "`share` of calls of providers that fail")
	usage := "Notify shows notifications as they happen, at http://localhost:3001/, and sends them by simulated " +
		"providers.\n" +
		"REDIS_URL names the Redis server; without it a private one is started, and ends with the program.\n" +
		"\nUsage: notify [flags]\n"
	cli.Parse(usage, 0, func() error {
		if o.every < 0 || o.quiet < 10*time.Millisecond || o.fail < 0 || o.fail > 0.9 {
			return errors.New("-every is not negative, -quiet is at least 10ms, and -fail is 0 to 0.9")
		}
		return nil
	})
	cli.Main("notify", func(ctx context.Context, log *slog.Logger) error { return notify(ctx, o, log) })
}

func notify(ctx context.Context, o options, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "notify", rdb, log)
	defer end()
	pub := events.NewPublisher(rdb, topic, events.PublisherConfig{MaxLen: 1000})
	publish := events.Publish[Note](pub, "note", gateways.Keyed(func(n Note) string { return n.To }))
	inbox, people, digests := newInbox(rdb), People{rdb}, Digests{rdb, o.quiet}
	if err := people.Seen(ctx, "ann", "bob", "eve"); err != nil {
		return err
	}
	feed := sse.New(rdb, sse.Config{Authenticate: userOf, Feed: feedOf, Log: log})
	show.Events(feed)

	mail, push := &Provider{rdb, "mail", o.fail}, &Provider{rdb, "push", o.fail}
	hook := newWebhook(&Provider{rdb, "webhook", o.fail})
	parts := []app.Part{
		app.Closing(pub.Close), app.Closing(inbox.events.Close), app.Closing(feed.Close), hook.receiver(),
	}
	for name, send := range map[string]func(context.Context, Delivery) error{
		"mail": mail.Accept, "push": push.Accept, "webhook": hook.Send,
	} {
		g, err := channel(rdb, name, send, log)
		if err != nil {
			return err
		}
		parts = append(parts, g)
	}
	route := router(rdb, inbox, people, digests, log)
	fmt.Println(route.Mermaid())
	parts = append(parts, digests.graph(log), route)
	if o.every > 0 {
		parts = append(parts, ticker(o.every, publish, log))
	}
	s := &site{rdb, feed, publish, inbox, people, []*Provider{mail, push, hook.provider}, log}
	return app.Run(ctx, append(parts, cli.Server(o.addr, s.routes(), web.ServerConfig{Log: log}, log))...)
}
