package durable_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/durable"
)

// The replies of this service outlive their callers.
func ExampleHandle() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer rdb.Close()
	replies := durable.New(rdb, "answers", durable.Config{})
	svc := gateways.NewService(rdb, "answers", gateways.ServiceConfig{})
	durable.Handle(svc, replies, "ask", func(ctx context.Context, q string, w *durable.Writer[string]) error {
		for _, word := range strings.Fields(q)[w.Resume():] { // after a crash, another process continues here
			if err := w.Send(ctx, word); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println(svc.Types())
	// Output: [ask]
}

// Start returns at once, and Follow can be called by any process.
func ExampleStart() {
	run := func(ctx context.Context, rdb redis.UniversalClient) error {
		replies := durable.New(rdb, "answers", durable.Config{})
		defer replies.Close(ctx)
		client := gateways.NewClient(rdb, "answers", gateways.ClientConfig{})
		defer client.Close(ctx)
		ask := durable.Start[string, string](client, replies, "ask")
		id, err := ask(ctx, "why is the sky blue?")
		if err != nil {
			return err
		}
		for item, err := range durable.Follow[string](ctx, replies, id, "") {
			if err != nil {
				return err
			}
			fmt.Print(item.Value, " ")
		}
		return nil
	}
	_ = run
	// Output:
}

// StartAs with an ID of the caller may be repeated: there is one reply for each order.
func ExampleStartAs() {
	report := func(ctx context.Context, c *gateways.Client, replies *durable.Replies, order string) error {
		return durable.StartAs[string, string](c, replies, "report")(ctx, "order-"+order, order)
	}
	_ = report
	// Output:
}

// A loop over Follow ends with the reply, or continues after values that were trimmed.
func ExampleFollow() {
	follow := func(ctx context.Context, replies *durable.Replies, id, cursor string) (string, error) {
		for item, err := range durable.Follow[string](ctx, replies, id, cursor) {
			if gap, is := err.(*durable.TrimmedError); is {
				fmt.Println("missed", gap.Missed)
				continue
			}
			if err != nil {
				return cursor, err // ErrStopped, ErrUnknown, …
			}
			cursor = item.Cursor // to continue here later
		}
		return cursor, nil
	}
	_ = follow
	// Output:
}

// One URL follows a reply by events or a WebSocket, and stops it by DELETE.
func ExampleReplies_Handler() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer rdb.Close()
	replies := durable.New(rdb, "answers", durable.Config{})
	mux := http.NewServeMux()
	mux.Handle("/answers/{id}", replies.Handler(durable.HTTPConfig{}))
	fmt.Println(replies.Validate())
	// Output: <nil>
}
