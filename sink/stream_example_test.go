package sink_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func ExampleStream() {
	server, err := embedded.Start() // in this process; programs use redisio.Connect
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()

	ctx := context.Background()
	for _, line := range []string{"to be", "or not"} {
		rdb.XAdd(ctx, &redis.XAddArgs{Stream: "lines", Values: []string{"data", line}})
	}
	lines := source.Range(rdb, source.RangeConfig[string]{Key: "lines"})
	loud := flow.Step(lines, "shout", func() flow.StepFunc[string, string] {
		return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			return flow.Derive(m, strings.ToUpper(m.Value)), true, nil
		}
	})
	to := sink.Stream(rdb, sink.StreamConfig[string]{Key: "loud", MaxLen: 1e6})
	if err := flow.New("shout", flow.To(loud, to)).Run(ctx); err != nil {
		log.Fatal(err)
	}
	for _, entry := range rdb.XRange(ctx, "loud", "-", "+").Val() {
		fmt.Println(entry.Values["data"])
	}
	// Output:
	// TO BE
	// OR NOT
}
