package dead_test

import (
	"github.com/redis/go-redis/v9"

	"context"
	"fmt"

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

func add(ctx context.Context, rdb redis.UniversalClient, key string, fields ...string) {
	if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: fields}).Err(); err != nil {
		panic(err)
	}
}
