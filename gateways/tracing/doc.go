// Package tracing traces graphs, calls and gateways with OpenTelemetry.
//
//	ctx = tracing.With(ctx) // spans go to otel's global provider
//	err := app.Run(ctx, svc, app.Closing(client.Close), &app.Server{Addr: ":3000", Handler: mux})
//
// A program that does not import this package links nothing of OpenTelemetry.
//
// # What a user sees
//
// This is the trace of one HTTP request. A graph receives it, calls a service, and passes it on to a
// second graph, which answers:
//
//	POST /orders                          server     ├──────────────────────────────────────┤
//	└ call orders                         producer    ├────────────────────────────────────┤
//	  └ process orders                    consumer      ├──────────────────────────┤
//	    ├ call stock                      producer       ├──────────┤
//	    │ └ process stock                 consumer         ├──────┤
//	    │   └ select from stock           (the handler's own span)
//	    └ send billing                    producer                   ├───┤
//	      └ process billing               consumer                      ├──────────────┤
//	        └ send replies                producer                               ├───┤
//
// # Spans
//
// All spans follow the semantic conventions of messaging (messaging.system is "redis"), and of HTTP:
//
//   - An entry that a source has read: "process <stream>", a consumer, from its receipt until it is
//     acknowledged, given back or moved to the dead letters. Sources in memory have internal spans,
//     "process <graph>". flow.Traits{Untraced: true} turns off the spans of a source or a sink.
//   - An entry that a sink, a client (Send), an event publisher or a socket writes: "send <stream>", a
//     producer, until Redis has it, retries included. The name has the stage instead of the stream if
//     each message chooses its stream, as replies do.
//   - A call of a client: "call <stream>", a producer, until its reply.
//   - A batch or another join of several messages: "batch <stage>", the root of a trace with links to
//     all its members, until it is settled. Providers keep 128 links of a span by default: see
//     OTEL_SPAN_LINK_COUNT_LIMIT.
//   - A request of an HTTP route, unless a middleware such as otelhttp has begun a span, and a call
//     over a WebSocket: servers.
//   - A call of a handler, if Stages names its stage: internal.
//
// Retries, nacks, dead letters and drops are events of the entry's span, named so, with stage, tries
// and error. The span has the status error if the entry failed: it was given back with an error, or is
// dead. A request that a service answers with an error has it too. The attribute streamerson.outcome
// is how it ended.
//
// Contexts of handlers carry the span, so spans and calls of a handler nest in it. A chunk of several
// messages that a sink writes at once has no common span, apart from those of Stages.
//
// # Links and children
//
// An entry that a caller waits for (it has a reply address) continues the trace of its caller: its
// span is a child. Any other entry begins a trace, with a link to the span that wrote it: it may be
// handled much later, several times, or in a batch. OneTrace makes all of them children.
//
// # Sampling and cost
//
// The sampler of the provider decides. A span that is not sampled costs about a microsecond. It
// still passes its trace on, so that the next process makes the same decision. A program that does
// not call With or New pays nothing.
//
// # Propagation
//
// traceparent, tracestate and baggage travel as fields of native entries, and of those of streamerson
// v1, where Node ignores them. Raw entries have no place for them: their spans have no link. Replies
// carry the span that wrote them; browsers receive no trace, neither over WebSockets nor with
// server-sent events. Routes accept all three from callers, and so do sockets for "send" and "call".
// Values that are invalid or too long count as missing (tracestate: 512 bytes, baggage: 8 KiB), here
// and in entries. Baggage of an entry is in the context of its handlers; a sink passes it on. What a
// handler adds reaches its calls and events, but no later stage.
//
// Attributes have at most 256 bytes. Payloads, keys and headers are no attributes.
package tracing
