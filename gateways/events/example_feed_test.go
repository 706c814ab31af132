package events_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/redisio/embedded"
)

func ExampleFollow() {
	ctx := context.Background()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()

	type Order struct{ ID, Customer string }
	pub := events.NewPublisher(rdb, "orders", events.PublisherConfig{})
	defer pub.Close(ctx)
	created := events.Publish[Order](pub, "created", gateways.Keyed(func(o Order) string { return o.Customer }))
	for _, o := range []Order{{"o-1", "ann"}, {"o-2", "bob"}, {"o-3", "ann"}} {
		if err := created(ctx, o); err != nil {
			fmt.Println(err)
		}
	}

	feed := events.NewFeed(rdb, "orders", events.FeedConfig{}) // one per process
	defer feed.Close(ctx)
	follow := events.Follow[Order](feed, "created")
	cursor := "0"
	for e, err := range follow(ctx, cursor) {
		var gap *events.GapError
		switch {
		case errors.As(err, &gap):
			fmt.Println("read the current state again")
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println(e.Type, e.Value.ID)
		}
		cursor = e.Cursor
		if e.Value.ID == "o-2" {
			break // the client has gone
		}
	}
	for e := range follow(ctx, cursor) { // it is back, here or at another process
		fmt.Println("resumed:", e.Value.ID)
		break
	}
	// Output:
	// created o-1
	// created o-2
	// resumed: o-3
}

func ExampleForKeys() {
	ctx := context.Background()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	pub := events.NewPublisher(rdb, "chat", events.PublisherConfig{})
	defer pub.Close(ctx)
	say := events.Publish[string](pub, "line", gateways.Keyed(func(line string) string { return line[:3] }))
	fmt.Println(say(ctx, "ann: hello"), say(ctx, "bob: hi"), say(ctx, "ann: bye"))

	feed := events.NewFeed(rdb, "chat", events.FeedConfig{})
	defer feed.Close(ctx)
	for e, err := range events.Follow[string](feed, "line", events.ForKeys("ann"))(ctx, "0") {
		fmt.Println(e.Value, err)
		if e.Value == "ann: bye" {
			break
		}
	}
	// Output:
	// <nil> <nil> <nil>
	// ann: hello <nil>
	// ann: bye <nil>
}

// A client with few events of its own keeps the cursors of heartbeats, so that it resumes without a
// gap when the stream has been trimmed.
func ExampleHeartbeats() {
	ctx := context.Background()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	feed := events.NewFeed(rdb, "orders", events.FeedConfig{})
	defer feed.Close(ctx)
	for e := range events.Follow[string](feed, "rare", events.Heartbeats(10*time.Millisecond))(ctx, "") {
		fmt.Println("heartbeat:", e.Heartbeat, e.Cursor != "")
		break
	}
	// Output:
	// heartbeat: true true
}

func ExampleFeed_Now() {
	ctx := context.Background()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	pub := events.NewPublisher(rdb, "orders", events.PublisherConfig{})
	defer pub.Close(ctx)
	feed := events.NewFeed(rdb, "orders", events.FeedConfig{})
	defer feed.Close(ctx)

	cursor, err := feed.Now(ctx)
	fmt.Println("read the state", err)
	fmt.Println("a change", events.Publish[string](pub, "created")(ctx, "o-1"))
	for e := range events.Follow[string](feed, "created")(ctx, cursor) {
		fmt.Println("then", e.Value)
		break
	}
	// Output:
	// read the state <nil>
	// a change <nil>
	// then o-1
}
