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
	"errors"
	"flag"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func main() {
	key := flag.String("stream", "lines", "`key` of the stream to write to")
	every := flag.Duration("every", 0, "write a line only so often (as 200ms), to watch them arrive")
	drawn := flag.Bool("graph", false, "print the graph as Mermaid, before it runs, on standard error")
	usage := "Usage: pipe [flags] [file]   (without a file, or with -, standard input is read)\n"
	cli.Parse(usage, 1, func() error {
		if flag.NArg() > 1 || *every < 0 {
			return errors.New("it takes one file, and -every 0 or more")
		}
		return nil
	})
	in := os.Stdin
	if file := flag.Arg(0); file != "" && file != "-" {
		f, err := os.Open(file)
		cli.Check("pipe", err)
		defer f.Close()
		in = f
	}
	cli.Graph("pipe", *drawn, func(rdb redis.UniversalClient) flow.Branch {
		lines := source.Lines(in)
		if *every > 0 {
			lines = operators.Throttle(lines, 1, *every, 1)
		}
		return flow.To(lines, sink.Stream(rdb, sink.StreamConfig[string]{Key: *key}))
	})
}
