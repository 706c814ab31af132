// Jobs makes thumbnails of pictures in the background. It demonstrates a queue with priorities,
// several workers, progress that is known without code, cancels, retries, and workers that die.
//
//	go run ./examples/jobs                      # needs nothing installed; open http://localhost:3005/
//	go run ./examples/jobs -h                   # all flags
//
// The page and the workers can be separate processes, as many as you like. Kill one while it works:
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/jobs -role web
//	REDIS_URL=redis://localhost:6379 go run ./examples/jobs -role worker
//	REDIS_URL=redis://localhost:6379 go run ./examples/jobs -role worker
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/gateways/web"
)

func main() {
	line := cli.NewLine("localhost:3005", "worker", "web")
	running := flag.Int("running", 3, "pictures that a worker has at a time")
	pace := flag.Duration("pace", 400*time.Millisecond, "how long a thumbnail takes at least, so that you can watch")
	lease := flag.Duration("lease", 5*time.Second, "how long the pictures of a dead worker wait for another")
	usage := "Jobs makes thumbnails of pictures in the background: a page at http://localhost:3005/, with\n" +
		"live progress.\n" +
		"REDIS_URL names the Redis server; without it a private one is started, and ends with the program.\n" +
		"\nUsage: jobs [flags]\n"
	cli.Parse(usage, 0, line.Check, func() error {
		if *running < 1 || *pace < 0 || *lease < 100*time.Millisecond {
			return errors.New("give a -running of 1 or more, a -pace of 0 or more, and a -lease of 100ms or more")
		}
		return nil
	})
	cfg := jobs.Config{Running: *running, Lease: *lease, Report: 100 * time.Millisecond, Keep: time.Hour,
		MaxAttempts: 5, MaxPayload: 8 << 20, Recent: 200}
	cli.Main("jobs", func(ctx context.Context, log *slog.Logger) error { return run(ctx, line, cfg, *pace, log) })
}

func run(ctx context.Context, line *cli.Line, cfg jobs.Config, pace time.Duration, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, show, end := cli.Inspect(ctx, "jobs", rdb, log)
	defer end()
	cfg.Log = log
	queue := jobs.New[Picture, Thumbs](rdb, "thumbnails", cfg)
	show.Queue(queue)
	store := &store{rdb: rdb, keep: cfg.Keep}

	parts := []app.Part{app.Closing(queue.Close)}
	if line.Works() {
		g := worker(queue, store, pace, log)
		fmt.Println(g.Mermaid())
		parts = append(parts, g)
	}
	if line.Serves() {
		parts = append(parts, cli.Server(line.Address(), routes(queue, store), web.ServerConfig{Log: log}, log))
	}
	return app.Run(ctx, parts...)
}
