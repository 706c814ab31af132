// Package flow is the core of Streamerson: typed sources and sinks, combined by operators into
// graphs that run with acknowledgements, backpressure and supervision.
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
// A [Message] is a value with its metadata ([Meta]) and a lease. Each entry that a source has read
// owns one lease, and every message made of the entry holds a share of it. When the last share is
// released, the entry is settled once, with the worst [Outcome] of all its shares. Then the source
// commits it: it acknowledges the entry, delivers it again, or moves it to the dead letters. User
// code never calls Ack.
//
// A [Handler] is the function of a stage; it owns its message until it returns. An error of a
// handler is a [Fault]. A [Policy] chooses the reaction: retry in place, give the message back to
// the source (nack), dead-letter it, drop it, or stop the graph. A handler chooses itself by
// returning a verdict: [Skip], [RetryAfter] or [Reject]. A panic is a fault with its stack.
//
// # How it runs
//
// Neighbouring stages with one input and one output run as one loop, an island. Islands pass chunks
// of messages over edges, which are bounded channels. There is an edge behind every source (unless
// it is [Inline]), around a stage with [Workers], at each output of a stage that has several, and
// where [Async] asks for one. No stage waits for a chunk to fill, unless [Within] asks for it.
//
// A source reads only as many entries as it has credits for ([MaxInFlight], [MaxBytes]). A credit
// returns when an entry has been committed. So a slow sink stops the reader, and memory is bounded.
//
// A background loop of a component is a [Task]: a part of the graph like any other.
//
// A stage that fails as a whole is restarted with its island, with backoff: a source that cannot
// read, for example, or a sink that cannot be opened. If it fails too often ([Restarts]), the graph
// stops with a [*StageError].
//
// When the context of Run is done, the graph drains. Sources stop reading, handlers finish what
// they have begun and emit what they hold, sinks flush, and the last settlements are committed.
// Entries that no handler has begun go back to their source at once, if it can take them back
// ([Traits]). Unfinished entries go back after [DrainTimeout].
//
// # Order and repetition
//
// Order is kept within a source, up to the sinks, unless [Unordered] or an operator such as Balance
// gives it up. With [KeyedBy] the messages of one key stay in order. A message that is given back
// is overtaken by later ones, unless the policy is [HoldKey]. [RetryAfter], a restarted stage, a
// lost lease, and a sink that writes several messages at once break the order as well.
//
// A nack repeats the whole entry. So a failed branch of a FanOut repeats all branches, and a failed
// batch repeats all its members, unless the sink returns a [*WriteError] with one error per member.
//
// # How an entry travels
//
// This is the way of an entry from one Redis stream to another, with one stage between:
//
//	Redis  --XREADGROUP-->  source goroutine  --edge-->  lane: handler, sink  --XADD-->  Redis
//	  ^                     1 read, 2 decode             3 handle, 4 write                 |
//	  |                                                                                  reply
//	  +------- XACK -------  committer  <----------  lease: last share released  <---------+
//	                         6 ack                   5 settle
//
// The steps, with the file of each in brackets (of package flow unless another is named):
//
//  1. Read. The source goroutine (read in source.go) waits for credits (sourceRun in source_credits.go)
//     and calls [Reader].Read. For a stream that is reader.Group of redisio, which returns entries
//     and holds them under a lease of Redis.
//  2. Decode. The Reader turns each entry into a value and adds it to the [Intake] (source.go);
//     package source does this in entry.go. admit (source.go) then makes one slab of leases for
//     the chunk (lease.go), takes the credits, and sends the chunk over an edge (edge.go).
//  3. Handle. A lane (lane.go) takes the chunk and pushes it in batches down its chain of stages
//     (step.go, handler.go). A fault goes to the policy (fault.go). With Workers several
//     lanes share the work (parallel.go).
//  4. Write. The sink stage (sink.go) gathers messages and calls [Writer].Write. For a stream
//     that is package sink, which encodes them and calls writer.Writer of redisio.
//  5. Settle. When the reply has come, the sink stage releases its share of each lease. The release
//     of the last share settles the entry. The lane tells the source's session once per chunk.
//  6. Ack. The committer (commitLoop in source_session.go) collects the settled leases of the slabs and
//     calls [Committer].Commit. For a stream that is settle.go of package source, which calls Ack,
//     Dead, NackEach and Undeliver of reader.Group. Then the credits return to the source.
//
// # Who owns what
//
//   - A chunk belongs to one goroutine at a time. Sending it over an edge passes it on.
//   - A lane, its stages, their buffers and its context belong to the lane's goroutine. Only its
//     current work (lease_lost.go), its meter and its holds are open to other goroutines, each under a lock.
//   - A share belongs to the goroutine that has the message. It is released exactly once.
//   - A [Reader] is used by one goroutine, apart from Commit, which the committer calls. A [Writer]
//     is used by one goroutine; with Workers each has its own.
//   - A session, with its slabs and its committer, outlives the reading of its Reader. It ends when
//     everything that was read is committed, or when the graph gives up.
//   - An edge is closed by its last sender.
//
// # Lock order
//
// A goroutine that holds a lock takes only locks that are further right. No lock is held during
// I/O (apart from a log line), a call of user code, or an operation on a channel that may block.
//
//	lanes.mu  ->  currentWork.mu                a lost lease interrupts its handler
//	lanes.mu  ->  meter.mu                      a snapshot measures the lanes
//	lanes.mu  ->  rest.mu  ->  slab.mu          a drain gives back what is not begun
//	tickets.mu  ->  slab.mu                     a ticket comes too late
//	session.mu  ->  slab.mu                     the committer collects
//	session.mu  ->  sourceRun.mu, Running.mu    a source without a Committer returns credits
//
// The lock of a [Supervisor] comes before all of these, because it is held while a graph starts. A
// watched message that ends takes watches.mu last. Keyed workers take byKey.mu before crew.mu. The
// locks of stages (holdMu) are taken alone.
//
// # Traces
//
// With a [Tracer] (WithTracer, Trace) each entry has a span from its receipt until its settlement is
// committed, and each join of several messages has one with links to theirs. Handlers receive the
// span in their context. Faults are events of the span. Stages have spans of their own where the
// Tracer asks for them. Package gateways/tracing makes the spans with OpenTelemetry.
//
// # Writing operators
//
// [Transform] makes a stage that turns a value into a value, [Step] one that turns a message into
// at most one, and [Via] one that emits any number. [Route] and [Fork] make stages with several
// outputs, [RouteVia] and [ForkVia] the same with timers. [Merge], [Gather] and [Pair] make stages
// with several inputs. [Tap] offers copies to a sink that does not matter, [Feedback] makes a
// loop, and [Nest] runs stages for each key. Package operators uses nothing else. [NewSource] and
// [NewSink] make endpoints.
package flow
