package gateways_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
)

// A Go worker serves a gateway of streamerson for Node, and a Go client calls a Node worker. The
// Node side needs no change.
func ExampleStreamersonV1() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer rdb.Close()

	type reply struct {
		OK string `json:"ok"`
	}
	svc := gateways.NewService(
		rdb,
		"my-stream-topic",
		gateways.ServiceConfig{Wire: gateways.StreamersonV1{RespAs: "helloWorldEvent"}},
	)
	gateways.Handle(svc, "helloWorldEvent", func(context.Context, map[string]any) (reply, error) {
		return reply{"received message!"}, nil
	})
	fmt.Println(svc.Validate())

	client := gateways.NewClient(rdb, "my-stream-topic", gateways.ClientConfig{Wire: gateways.StreamersonV1{}})
	hello := gateways.Call[map[string]any, reply](client, "helloWorldEvent")
	_ = hello // func(context.Context, map[string]any) (reply, error)
	// Output: <nil>
}
