package view_test

import (
	"context"
	"fmt"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// The changes of an entry and the position behind it are written together, and once.
func ExampleView_Commit() {
	srv, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	rdb := srv.Client()
	defer rdb.Close()
	ctx := context.Background()
	v, err := view.New(rdb, view.Config{Space: "bank", Name: "sums", Log: func(int) string { return "{bank:0}log" }})
	if err != nil {
		log.Fatal(err)
	}
	build, err := v.Begin(ctx, 1)
	if err != nil {
		log.Fatal(err)
	}
	claim, err := v.Claim(ctx, build, 0, "this process")
	if err != nil {
		log.Fatal(err)
	}
	add := &redis.XAddArgs{Stream: "{bank:0}log", ID: "1-0", Values: []string{"data", "5"}}
	if err := rdb.XAdd(ctx, add).Err(); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		tx := v.Of(build).Begin(0)
		tx.HIncrBy("sum", "ann", 5)
		fmt.Println(v.Commit(ctx, tx, "this process", claim.Position, redisio.ID{Ms: 1}, 1))
	}
	live, err := v.Live(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rdb.HGet(ctx, live.Key(0, "sum"), "ann").Val())
	// Output:
	// <nil>
	// view: the position is another one; claim the partition again
	// 5
}
