package dead_test

import (
	"github.com/redis/go-redis/v9"

	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// The price service was down; what it failed on gets another life.
func ExampleReplay() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
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

	down := dead.Filter{Stage: "price", Error: "refused"}
	for letter, err := range dead.All(ctx, rdb, "orders:dead", down) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s at %s: %s\n", letter.Original[0].Value, letter.Reason.Stage, letter.Reason.Error)
	}
	report, err := dead.Replay(ctx, rdb, "orders:dead", down, dead.ReplayOptions{Rate: 100})
	fmt.Println("replayed:", report.Replayed, "to:", report.To, "error:", err)
	dropped, err := dead.Drop(
		ctx,
		rdb,
		"orders:dead",
		dead.Filter{Stage: "check"},
		dead.DropOptions{},
	)
	fmt.Println("dropped:", dropped, "error:", err)
	// Output:
	// tea at price: connection refused
	// replayed: 1 to: map[orders:1] error: <nil>
	// dropped: 1 error: <nil>
}

// The newest dead letter has a field that its graph can't read. It gets another life with a correct one.
func ExampleReplayAs() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
	defer done()
	add(ctx, rdb, "orders:dead", "data", "1 tea", "dead:key", "orders")
	add(ctx, rdb, "orders:dead", "data", "one milk", "dead:error", "no number", "dead:key", "orders")

	for letter, err := range dead.Newest(ctx, rdb, "orders:dead", dead.Filter{Limit: 1}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fields := redisio.Fields{{Name: "data", Value: []byte("1 milk")}}
		report, err := dead.ReplayAs(ctx, rdb, "orders:dead", letter.ID, fields, dead.ReplayOptions{})
		fmt.Println("replayed:", report.Replayed, "to:", report.To, "error:", err)
	}
	fmt.Println(rdb.XRange(ctx, "orders", "-", "+").Val()[0].Values)
	// Output:
	// replayed: 1 to: map[orders:1] error: <nil>
	// map[data:1 milk]
}

func add(ctx context.Context, rdb redis.UniversalClient, key string, fields ...string) {
	if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: fields}).Err(); err != nil {
		panic(err)
	}
}
