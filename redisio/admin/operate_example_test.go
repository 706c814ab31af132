package admin_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

func Add(ctx context.Context, rdb redis.UniversalClient, key string, fields ...string) {
	if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: fields}).Err(); err != nil {
		panic(err)
	}
}

// A dry run shows the effect of a reset; then the group reads the stream once more.
func ExampleReset() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
	defer done()
	for _, order := range []string{"tea", "milk", "jam"} {
		Add(ctx, rdb, "orders", "data", order)
	}
	rdb.XGroupCreate(ctx, "orders", "billing", "$") // it came late

	plan, err := admin.Reset(
		ctx,
		rdb,
		"orders",
		"billing",
		redisio.StartBeginning(),
		admin.ResetOptions{DryRun: true},
	)
	fmt.Println("again:", plan.Again, "skipped:", plan.Skipped, "readers:", len(plan.Live), "error:", err)
	_, err = admin.Reset(ctx, rdb, "orders", "billing", redisio.StartBeginning(), admin.ResetOptions{})
	fmt.Println("error:", err)
	groups, err := admin.Groups(ctx, rdb, "orders")
	fmt.Println(groups[0].Name, "has not read", groups[0].Lag, "entries", "error:", err)
	// Output:
	// again: 3 skipped: 0 readers: 0 error: <nil>
	// error: <nil>
	// billing has not read 3 entries error: <nil>
}
