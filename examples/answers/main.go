// Answers streams a long answer word by word, as a language model does, into a durable reply. Reload
// the page in the middle, open it twice, or open it at another node: the answer goes on. Stop ends it
// everywhere. It demonstrates durable.Handle, StartAs and Handler, and a writer that continues where
// a killed process ended.
//
//	go run ./examples/answers                    # needs nothing installed; open http://localhost:3010/
//	go run ./examples/answers -h                 # all flags
//
// Services and nodes of the page may be separate processes, as many of each as you like:
//
//	export REDIS_URL=redis://localhost:6379
//	go run ./examples/answers -role service
//	go run ./examples/answers -role web -addr localhost:3010
//	go run ./examples/answers -role web -addr localhost:3011
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
	"github.com/streamerson/streamerson-go/gateways/durable"
	"github.com/streamerson/streamerson-go/gateways/web"
)

const topic = "answers"

func main() {
	pace := flag.Duration("pace", 80*time.Millisecond, "time for each word")
	line := cli.NewLine("localhost:3010", "service", "web")
	cli.Parse("Answers writes long answers word by word: a page at http://localhost:3010/. They go on when the page\n"+
		"is reloaded, and at every other node. REDIS_URL names the Redis server; without it a private one is\n"+
		"started.\n\nUsage: answers [flags]\n", 0, line.Check, func() error {
		if *pace <= 0 {
			return errors.New("-pace must be positive")
		}
		return nil
	})
	cli.Main("answers", func(ctx context.Context, log *slog.Logger) error { return answers(ctx, line, *pace, log) })
}

func answers(ctx context.Context, line *cli.Line, pace time.Duration, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "answers", rdb, log)
	defer end()
	replies := durable.New(rdb, topic, durable.Config{Limits: durable.Limits{Keep: time.Hour}, Log: log})
	parts := []app.Part{app.Closing(replies.Close)}
	if line.Works() {
		// Another process continues the answers of one that was killed after the lease.
		svc := gateways.NewService(rdb, topic, gateways.ServiceConfig{Lease: 3 * time.Second, Log: log})
		durable.Handle(svc, replies, "ask", func(ctx context.Context, q Question, w *durable.Writer[string]) error {
			for _, word := range answer(q.Text)[w.Resume():] {
				if err := sleep(ctx, pace); err != nil {
					return err
				}
				if err := w.Send(ctx, word); err != nil {
					return err
				}
			}
			return nil
		})
		fmt.Println(svc.Graph().Mermaid())
		show.Service(svc)
		parts = append(parts, svc)
	}
	if line.Serves() {
		client := gateways.NewClient(rdb, topic, gateways.ClientConfig{Log: log})
		ask := durable.StartAs[Question, string](client, replies, "ask")
		show.Client(client)
		parts = append(parts, app.Closing(client.Close),
			cli.Server(line.Address(), routes(ask, replies), web.ServerConfig{Log: log}, log))
	}
	return app.Run(ctx, parts...)
}

// sleep waits for d. It returns early if the answer is stopped or the process ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
