// Read prints a Redis stream as it grows. It shows source.Tail, which sees every entry and leaves
// no trace on the server. With -group it shows source.Stream: readers of a group share the entries,
// and each entry is acknowledged when it is printed.
//
// It needs a Redis server that others write to: REDIS_URL, or redis://localhost:6379. Run it next
// to pipe (see examples/pipe), in two terminals:
//
//	go run ./examples/read -stream lines
//	go run ./examples/pipe -stream lines -every 200ms big.txt
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func main() {
	logging.Disable() // go-redis' own log repeats our errors
	key := flag.String("stream", "lines", "`key` of the stream to print")
	group := flag.String("group", "", "share the entries with the other readers of this `group`, and acknowledge them")
	drawn := flag.Bool("graph", false, "print the graph as Mermaid, before it runs, on standard error")
	start := redisio.StartEnd()
	flag.Func(
		"from",
		"`where` to begin: now (the default), 0 for the beginning, behind the entry with this id, or at a time\n"+
			"as 2026-01-31T15:04:05Z; a -group that exists goes on where it is",
		func(s string) (err error) {
			start, err = parseStart(s)
			return err
		},
	)
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "read: unexpected argument %q (read -h lists them)\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := read(*key, *group, start, *drawn); err != nil {
		fmt.Fprintln(os.Stderr, "read:", err)
		os.Exit(1)
	}
}

func read(key, group string, start redisio.Start, drawn bool) error {
	ctx := context.Background()
	rdb, err := redisio.Connect(ctx, cmp.Or(os.Getenv("REDIS_URL"), "redis://localhost:6379"), redisio.ConnectOptions{})
	if err != nil {
		return fmt.Errorf(
			"%w\nread and pipe meet on a server: start one (redis-server), or set REDIS_URL to one that runs",
			err,
		)
	}
	defer rdb.Close()
	entries := source.Tail(rdb, source.TailConfig[redisio.Fields]{Key: key, Start: start})
	if group != "" {
		entries = source.Stream(rdb, source.StreamConfig[redisio.Fields]{Key: key, Group: group, Start: start})
	}
	lines := operators.MapMessage(entries, line, flow.Name("line"))
	console := zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.TimeOnly}
	log := slog.New(zerolog.NewSlogHandler(zerolog.New(console).Level(zerolog.InfoLevel).With().Timestamp().Logger()))
	g := flow.New("read", flow.To(lines, sink.Lines(os.Stdout)), flow.Log(log))
	if drawn {
		fmt.Fprintln(os.Stderr, g.Mermaid())
	}
	return g.RunUntilInterrupt(ctx)
}
