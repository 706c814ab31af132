// Package flow is the core of Streamerson: typed sources and sinks, combined by operators into graphs that run with
// acknowledgements, backpressure and supervision.
//
// # The words
//
// A [Source] is a typed output of a stage; a [Sink] is a typed end. [To] joins the two to a
// [Branch], and a [Graph] is a set of branches. All of these are a blueprint: plain values, and
// nothing runs until [Graph.Run] or [Graph.Start].
//
//	lines := source.Stream(rdb, source.StreamConfig[string]{Key: "lines", Group: "shout"})
//	loud := operators.Map(lines, flow.Pure(strings.ToUpper))
//	err := flow.New("shout", flow.To(loud, sink.Stream(rdb, sink.StreamConfig[string]{Key: "loud"}))).Run(ctx)
//
// What travels is a [Message]: a value, what is known of it ([Meta]), and a lease. An entry that a source has read owns
// one lease; every message that descends from it holds a share. When the last share is released the entry is settled
// with the worst [Outcome] of all its shares, exactly once, and the source commits it: acknowledges it, delivers it
// again, or moves it to the dead letters. Nobody calls Ack.
//
// A [Handler] is what a stage does with a message; it owns the message until it returns. A message that a handler fails
// on is a [Fault], and a [Policy] decides about it: retry in place, give it back to the source (nack), dead-letter it,
// drop it, or stop the graph. A handler may also decide by itself, by returning a verdict: [Skip], [RetryAfter] or
// [Reject]. A panic is a fault with its stack.
//
// # How it runs
//
// Neighbouring stages with one input and one output run as one loop, an island. Islands pass chunks of messages over
// edges, bounded channels. There is an edge behind every source (unless it is [Inline]), around a
// stage with [Workers], at each output of a stage that has several, and where [Async] asks for one.
// Nothing waits for a chunk to fill.
//
// A source reads only as many entries as it has credits for ([MaxInFlight], [MaxBytes]), and a credit comes back when
// an entry has been committed. So a slow sink stops the reader, and memory is bounded.
//
// A stage that fails as a whole (a source that cannot read, a sink that cannot be opened) is restarted with its island,
// with backoff, until it has failed too often ([Restarts]); then the graph stops with a [*StageError].
//
// When the context of Run is done the graph drains: sources stop reading, what has been read is finished, handlers emit
// what they hold, sinks flush, and the last settlements are committed. What is not finished in time ([DrainTimeout]) is
// given back to the sources.
//
// # Writing operators
//
// [Transform] makes a stage that turns a value into a value. [Step] makes one that turns a message
// into at most one, and [Via] one that emits any number. [Route] and [Fork] make stages with
// several outputs; [RouteVia] and [ForkVia] take handlers with a timer. [Merge], [Gather] and [Pair]
// make stages with several inputs. Package operators uses nothing else. [NewSource] and [NewSink]
// make endpoints.
package flow
