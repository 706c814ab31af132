// Package events publishes events of a topic to all its subscribers.
//
//	pub := events.NewPublisher(rdb, "orders", events.PublisherConfig{})
//	created := events.Publish[Order](pub, "created", gateways.Keyed(Order.Customer))
//	orders := events.Subscribe[Order](rdb, "orders", "created", events.SubscribeConfig{Group: "billing"})
//
// [Subscribe] is a source of events for graphs: each process receives all of them, or the processes
// of a group share them. Package sse serves events to browsers.
package events
