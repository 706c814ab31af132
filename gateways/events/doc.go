// Package events publishes events of a topic to all its subscribers.
//
//	pub := events.NewPublisher(rdb, "orders", events.PublisherConfig{})
//	created := events.Publish[Order](pub, "created", gateways.Keyed(Order.Customer))
//	orders := events.Subscribe[Order](rdb, "orders", "created", events.SubscribeConfig{Group: "billing"})
//
// [Subscribe] is a source of events for graphs: each process receives all of them, or the processes
// of a group share them. Package sse serves events to browsers.
//
// [Follow] is for everything else that reads events, such as the resolver of a GraphQL subscription,
// a gRPC stream or a plain loop:
//
//	feed := events.NewFeed(rdb, "orders", events.FeedConfig{}) // one per process
//	created := events.Follow[Order](feed, "created")
//	for e, err := range created(ctx, cursor) { … }
//
// # Feeds and cursors
//
// A [Feed] reads the stream of a topic once, over one connection, for all loops of the process. It is
// a value that the program passes to its loops, so that nothing global is shared. It connects with
// the first loop, and disconnects after the last.
//
// A cursor is the position of an event in the stream. Each event comes with its cursor, and a loop
// that begins after it, in any process, yields the next event. A client that keeps the cursor of the
// last event it has handled misses nothing, whichever process it reconnects to. Events that were
// trimmed meanwhile are a [GapError]. The stream keeps PublisherConfig.MaxLen events, so a client
// that stays away longer reads the current state again, and goes on from there.
//
// A program that shows a state and then its changes calls [Feed.Now] before it reads the state.
package events
