package redisio_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
)

// server starts a private redis-server: a program connects to its own with redisio.Connect.
func server(ctx context.Context) (redis.UniversalClient, func() error) {
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		panic(err)
	}
	return rdb, done
}

func add(ctx context.Context, rdb redis.UniversalClient, key string, fields ...string) {
	if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: fields}).Err(); err != nil {
		panic(err)
	}
}

// The price service was down; what it failed on gets another life.
func ExampleReplayDeadLetters() {
	ctx := context.Background()
	rdb, done := server(ctx)
	defer done()
	add(
		ctx,
		rdb,
		"orders:dead",
		"data",
		"tea",
		"dead:error",
		"connection refused",
		"dead:stage",
		"price",
		"dead:key",
		"orders",
	)
	add(
		ctx,
		rdb,
		"orders:dead",
		"data",
		"stone",
		"dead:error",
		"we don't sell stones",
		"dead:stage",
		"check",
		"dead:key",
		"orders",
	)

	down := redisio.DeadFilter{Stage: "price", Error: "refused"}
	for letter, err := range redisio.DeadLetters(ctx, rdb, "orders:dead", down) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s at %s: %s\n", letter.Original[0].Value, letter.Reason.Stage, letter.Reason.Error)
	}
	report, err := redisio.ReplayDeadLetters(ctx, rdb, "orders:dead", down, redisio.ReplayOptions{Rate: 100})
	fmt.Println("replayed:", report.Replayed, "to:", report.To, "error:", err)
	dropped, err := redisio.DropDeadLetters(
		ctx,
		rdb,
		"orders:dead",
		redisio.DeadFilter{Stage: "check"},
		redisio.DropOptions{},
	)
	fmt.Println("dropped:", dropped, "error:", err)
	// Output:
	// tea at price: connection refused
	// replayed: 1 to: map[orders:1] error: <nil>
	// dropped: 1 error: <nil>
}

// A group goes through the stream once more, after a look at what that means.
func ExampleReset() {
	ctx := context.Background()
	rdb, done := server(ctx)
	defer done()
	for _, order := range []string{"tea", "milk", "jam"} {
		add(ctx, rdb, "orders", "data", order)
	}
	rdb.XGroupCreate(ctx, "orders", "billing", "$") // it came late

	plan, err := redisio.Reset(
		ctx,
		rdb,
		"orders",
		"billing",
		redisio.StartBeginning(),
		redisio.ResetOptions{DryRun: true},
	)
	fmt.Println("again:", plan.Again, "skipped:", plan.Skipped, "readers:", len(plan.Live), "error:", err)
	_, err = redisio.Reset(ctx, rdb, "orders", "billing", redisio.StartBeginning(), redisio.ResetOptions{})
	fmt.Println("error:", err)
	groups, err := redisio.Groups(ctx, rdb, "orders")
	fmt.Println(groups[0].Name, "has not read", groups[0].Lag, "entries", "error:", err)
	// Output:
	// again: 3 skipped: 0 readers: 0 error: <nil>
	// error: <nil>
	// billing has not read 3 entries error: <nil>
}
