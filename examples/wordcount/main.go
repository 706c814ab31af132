// Wordcount computes the word counts of a text with a graph over a Redis stream. It shows a
// consumer group shared by processes, keyed shards, batches, fan-in, retries of a handler that
// fails at random, live progress, and a clean end.
//
// It writes the text's lines to one stream, reads them with a consumer group, and writes word
// counts to another stream. A line is acknowledged only after the counts of its words are written.
// In the end it reads the counts back and compares them to those of a plain loop over the same
// text.
//
//	go run ./examples/wordcount                          # a bundled text; needs nothing installed
//	go run ./examples/wordcount -fail 0.2 big.txt        # one call in five of the handlers fails
//	go run ./examples/wordcount -h                       # all flags
//
// Two processes share the work when they use the same server and name:
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/wordcount -name demo -slow 1ms big.txt
//	REDIS_URL=redis://localhost:6379 go run ./examples/wordcount -name demo -join
//
// Kill one of them: the other takes over its lines, after the lease.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/redis/go-redis/v9/logging"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/embedded"
)

func main() {
	logging.Disable() // go-redis' own log repeats our errors
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C is not caught: it ends the process at once
	cli.Check("wordcount", run(ctx, o))
}

func run(ctx context.Context, o options) error {
	var txt text
	var err error
	if !o.join {
		if txt, err = openText(o.file); err != nil {
			return err
		}
		defer txt.Close()
	}
	url := os.Getenv("REDIS_URL")
	if o.join && url == "" {
		return errors.New("-join needs a server that the processes share: set REDIS_URL, for all of them")
	}
	rdb, where, closeRedis, err := embedded.Open(ctx, url)
	if err != nil {
		return err
	}
	defer closeRedis()
	screen, s := cli.NewScreen(os.Stderr), streamsOf(o.name)
	log := screen.Log()
	log.Info(where)
	ctx, _, end := cli.Inspect(ctx, "wordcount", rdb, log)
	defer end()
	defer context.AfterFunc(ctx, func() {
		log.Info("interrupted: finishing what has been read (Ctrl-C again ends at once)")
	})()

	var again atomic.Int64
	g := count(rdb, s, o, flow.Log(log), flow.OnEvent(flow.Hooks{Committed: func(_ string, settled []flow.Settlement) {
		for i := range settled {
			if settled[i].Attempt > 1 {
				again.Add(1)
			}
		}
	}}))
	if err := g.Validate(); err != nil { // before the text is loaded
		return err
	}
	if o.join {
		err = s.await(ctx, rdb, func() { log.Info("waiting until " + s.lines + " is loaded") })
	} else {
		err = s.load(ctx, rdb, load(rdb, txt, s, flow.Log(log)), screen)
	}
	if !o.named && !o.keep {
		defer s.delete(context.WithoutCancel(ctx), rdb)
	}
	if err != nil || ctx.Err() != nil {
		return err
	}

	fmt.Println(g.Mermaid())
	total := rdb.XLen(ctx, s.lines).Val()
	last, err := watch(ctx, screen, g, countLine(total), func() bool {
		unread, pending, err := s.left(ctx, rdb)
		return err == nil && unread+pending == 0
	})
	if err != nil {
		return err
	}
	lines := linesOf(txt)
	if o.join {
		lines = linesIn(ctx, rdb, s)
	}
	err = report{o: o, s: s, rdb: rdb, source: last.Sources[0], again: again.Load()}.print(ctx, lines)
	if cli.Inspected() && ctx.Err() == nil {
		log.Info("the page stays until Ctrl-C")
		<-ctx.Done()
	}
	return err
}
