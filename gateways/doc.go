// Package gateways implements request and reply over Redis Streams: services answer requests,
// clients send them.
//
//	svc := gateways.NewService(rdb, "orders", gateways.ServiceConfig{})
//	gateways.Handle(svc, "price", func(ctx context.Context, o Order) (Quote, error) { … })
//	err := svc.RunUntilInterrupt(ctx)
//
//	client := gateways.NewClient(rdb, "orders", gateways.ClientConfig{})
//	price := gateways.Call[Order, Quote](client, "price") // func(context.Context, Order) (Quote, error)
//
// A service is an ordinary graph: a source reads its requests, a stage runs its handlers, a sink
// writes its replies. All guarantees about acknowledgements, drains, leases and dead letters hold.
// Start a service in as many processes as needed: they share the requests of their topic. Graphs of
// other shapes answer requests by [Requests] and [Reply], with any operators between.
//
// A handler that calls another service passes on the trace, the request ID and the identity of its
// request, because its context contains them. See [PassOn] for other graphs, and [HeaderFor] for
// headers of each request.
//
// A handler that calls its own topic waits for a handler of the same service. By default 64
// handlers run at once in a process. If 64 handlers call their own topic at the same time, and no
// other process has capacity, all wait for each other until their deadlines. Use a separate topic
// and service for such calls; both services may run in the same process.
//
// Settled requests are deleted from the stream as soon as every group has settled them.
// ClientConfig.MaxWaiting and MaxWaitingBytes limit the unsettled requests. If no process has
// served a topic for two seconds, calls fail with [ErrNoService].
//
// Package web connects HTTP routes to services, and package ws connects WebSockets. Package events
// publishes and subscribes to events of a topic. Package sse serves events and streamed replies to
// browsers.
//
// # Rights
//
//	streams acl -user shop -client orders | redis-cli
//	rules := gateways.ClientConfig{User: "shop"}.Access("orders").Rules() // the same, for ACL SETUSER
//
// On a server with ACLs, services, clients and the hubs of package ws are separate roles: see
// [ServiceConfig.Access], [ClientConfig.Access], and the command redisio/cmd/streams. A client that
// must not read the replies of other clients needs its own user. Its mailboxes are below the user's
// name, "{topic}:reply:<user>:<id>". Then it can read and write no other mailbox, and no client can
// read requests.
//
// # On the wire
//
// Requests are native entries (see redisio.Native) of the stream named like the topic, with type,
// id, reply, limit and headers. Each client process has one stream for its replies, its mailbox
// "{topic}:reply:<id>", or "{topic}:reply:<user>:<id>" with a ClientConfig.User. The client
// creates, reads, trims and deletes it, and it expires when the process dies. Services write to a
// mailbox only while it exists, and to no other key. They limit it to 16,384 replies and to
// ServiceConfig.MailboxBytes, so that a client that hangs does not fill Redis. Clients cancel
// requests and grant credit for streamed replies in "{topic}:control", which every process of a
// service reads. Events are native entries of "{topic}:events", with type, id, key and headers. All
// keys of a topic share a hash slot.
//
// [StreamersonV1], the Wire of ServiceConfig and ClientConfig, uses the protocol of streamerson for
// Node instead.
package gateways
