package source_test

import (
	"context"
	"fmt"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/source"
)

// serverWith starts an in-process server with a stream of lines. Programs use redisio.Connect.
func serverWith(lines ...string) (rdb *redis.Client, end func()) {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	rdb = server.Client()
	for i, line := range lines {
		args := &redis.XAddArgs{
			Stream: "lines",
			ID:     fmt.Sprintf("1700000000000-%d", i+1),
			Values: []string{"data", line},
		}
		if err := rdb.XAdd(context.Background(), args).Err(); err != nil {
			log.Fatal(err)
		}
	}
	return rdb, func() {
		rdb.Close()
		server.Close()
	}
}

func ExampleStream() {
	rdb, end := serverWith("to be", "or not", "to be")
	defer end()

	// Each line is acknowledged when the loop asks for the next one.
	lines := source.Stream(rdb, source.StreamConfig[string]{Key: "lines", Group: "readers"})
	left := 3
	for line, err := range flow.Values(context.Background(), lines) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
		if left--; left == 0 {
			break
		}
	}
	// Output:
	// to be
	// or not
	// to be
}

func ExampleTail() {
	rdb, end := serverWith("to be", "or not")
	defer end()

	// Without a Start, Tail would deliver only entries written from now on.
	lines := source.Tail(
		rdb,
		source.TailConfig[string]{Key: "lines", Start: redisio.StartID(redisio.ID{Ms: 1700000000000, Seq: 1})},
	)
	for line, err := range flow.Values(context.Background(), lines) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
		break
	}
	// Output: or not
}

func ExampleRange() {
	rdb, end := serverWith("to be", "or not", "to be", "that is")
	defer end()

	lines := source.Range(rdb, source.RangeConfig[string]{
		Key:  "lines",
		From: redisio.ID{Ms: 1700000000000, Seq: 2},
		To:   redisio.ID{Ms: 1700000000000, Seq: 3},
	})
	for line, err := range flow.Values(context.Background(), lines) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
	}
	// Output:
	// or not
	// to be
}
