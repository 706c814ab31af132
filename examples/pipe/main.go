// Pipe writes the lines of a file, or of standard input, to a Redis stream. It shows source.Lines
// and sink.Stream, and with -every operators.Throttle, which slows it down.
//
// It needs a Redis server that others read from: REDIS_URL, or redis://localhost:6379. Run it next
// to read (see examples/read), in two terminals:
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
	key := flag.String("stream", "lines", "`key` of the stream to write to")
	every := flag.Duration("every", 0, "write a line only so often (as 200ms), to watch them arrive")
	drawn := flag.Bool("graph", false, "print the graph as Mermaid, before it runs, on standard error")
	flag.Usage = func() {
		fmt.Fprintln(
			flag.CommandLine.Output(),
			"Usage: pipe [flags] [file]   (without a file, or with -, standard input is read)\n\nFlags:",
		)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 || *every < 0 {
		fmt.Fprintln(os.Stderr, "pipe: it takes one file, and -every 0 or more (pipe -h lists the flags)")
		os.Exit(2)
	}
	if err := pipe(flag.Arg(0), *key, *every, *drawn); err != nil {
		fmt.Fprintln(os.Stderr, "pipe:", err)
		os.Exit(1)
	}
}

func pipe(file, key string, every time.Duration, drawn bool) error {
	in := os.Stdin
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	ctx := context.Background()
	rdb, err := redisio.Connect(ctx, cmp.Or(os.Getenv("REDIS_URL"), "redis://localhost:6379"), redisio.ConnectOptions{})
	if err != nil {
		return fmt.Errorf(
			"%w\npipe and read meet on a server: start one (redis-server), or set REDIS_URL to one that runs",
			err,
		)
	}
	defer rdb.Close()
	lines := source.Lines(in)
	if every > 0 {
		lines = operators.Throttle(lines, 1, every, 1)
	}
	console := zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.TimeOnly}
	log := slog.New(zerolog.NewSlogHandler(zerolog.New(console).Level(zerolog.InfoLevel).With().Timestamp().Logger()))
	g := flow.New("pipe", flow.To(lines, sink.Stream(rdb, sink.StreamConfig[string]{Key: key})), flow.Log(log))
	if drawn {
		fmt.Fprintln(os.Stderr, g.Mermaid())
	}
	return g.RunUntilInterrupt(ctx)
}
