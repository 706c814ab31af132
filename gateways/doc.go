// Package gateways is request and reply over Redis Streams: services that answer, clients that ask.
//
//	svc := gateways.NewService(rdb, "orders", gateways.ServiceConfig{})
//	gateways.Handle(svc, "price", func(ctx context.Context, o Order) (Quote, error) { … })
//	err := svc.RunUntilInterrupt(ctx)
//
//	client := gateways.NewClient(rdb, "orders", gateways.ClientConfig{})
//	price := gateways.Call[Order, Quote](client, "price") // func(context.Context, Order) (Quote, error)
//
// A service is an ordinary graph: its requests are a source, its handlers a stage, its replies a
// sink, so that what is promised of acknowledgements, drains, leases and dead letters holds. Start
// it in as many processes as it takes: they share the requests of their topic. Graphs of other
// shapes answer requests by [Requests] and [Reply], with any operators between.
//
// A handler that calls another service passes on the trace, the request id and the identity of its
// request, because its context has them; see [PassOn] for other graphs, and [HeaderFor] for headers
// of each request.
//
// A handler that calls its own topic waits for a handler of the same service. 64 run at once in a
// process by default: if 64 requests at a time do so, and no other process has room, all wait for
// each other until their deadlines. Give what is called in this way a topic of its own, with a
// service of its own in the same process if you like.
//
// Settled requests are deleted from the stream at once, when every group of it is done with them.
// Requests that are not settled are bounded by ClientConfig.MaxWaiting and MaxWaitingBytes. If no
// process has served a topic for two seconds, calls fail with [ErrNoService].
//
// # HTTP
//
//	mux.Handle("GET /orders/{id}", gateways.Route[GetOrder](client, "getOrder"))
//	err := gateways.Serve(ctx, listener, mux, gateways.ServerConfig{})
//
// [HTTP] and [Route] are routes of any mux to a service; see [HTTPError] for what callers are told
// of failures. [Serve] is a server with bounds, and with an end.
//
// # Events
//
//	events := gateways.NewEvents(rdb, "orders", gateways.EventsConfig{})
//	created := gateways.Publish[Order](events, "created", gateways.Keyed(Order.Customer))
//	mux.Handle("GET /events", gateways.SSE(rdb, gateways.SSEConfig{Feed: feedOf}))
//
// [Publish] tells everybody who listens: graphs by [Subscribe], in every process or shared by a
// group, and browsers by [SSE], which serves any stream of native entries. [ServeStream] makes such
// events of a streamed reply.
//
// # On the wire
//
// Requests are native entries (see redisio.Native) of the stream named like the topic, with type,
// id, reply, limit and headers. Each client process has one stream for its replies, its mailbox
// "{topic}:reply:<id>", which it makes, reads, trims and deletes, and which ends by itself when the
// process dies; services write to it only while it exists, and to no other key. What clients say
// later, to cancel or to have more of a streamed reply, is in "{topic}:control", which every
// process of a service reads. Events are native entries of "{topic}:events", with type, id, key and
// headers. All keys of a topic share a hash slot.
//
// [StreamersonV1] speaks as streamerson for Node does instead: the Wire of ServiceConfig and ClientConfig.
package gateways
