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
	"flag"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func main() {
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
	cli.Parse("Usage: read [flags]\n", 0)
	cli.Graph("read", *drawn, func(rdb redis.UniversalClient) flow.Branch {
		entries := source.Tail(rdb, source.TailConfig[redisio.Fields]{Key: *key, Start: start})
		if *group != "" {
			entries = source.Stream(rdb, source.StreamConfig[redisio.Fields]{Key: *key, Group: *group, Start: start})
		}
		return flow.To(operators.MapMessage(entries, line, flow.Name("line")), sink.Lines(os.Stdout))
	})
}
