package gateways_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// A function sets headers from the request, and a context passes on others.
func ExamplePassOn() {
	onStand("prices", func(rdb redis.UniversalClient) *flow.Graph {
		svc := gateways.NewService(rdb, "prices", gateways.ServiceConfig{})
		svc.HandleFunc("price", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
			item, _ := r.Headers.Get("item")
			id, _ := r.Headers.Get(gateways.HeaderRequestID)
			return gateways.Response{Body: []byte(item + " for " + id)}, nil
		})
		return svc.Graph()
	}, func(ctx context.Context, client *gateways.Client) {
		item := gateways.HeaderFor("item", func(_ context.Context, p purchase) string { return p.Item })
		price := gateways.Call[purchase, string](client, "price", item)
		ctx = gateways.PassOn(
			ctx,
			flow.Headers{{Name: gateways.HeaderRequestID, Value: "r7"}},
		) // the headers of a message, in a graph
		fmt.Println(price(ctx, purchase{"tea"}))
	})
	// Output: tea for r7 <nil>
}
