// Package redisio speaks Redis Streams: it connects, reads, settles, claims, writes and trims, and
// it knows nothing of graphs, operators or messages.
//
// # The words
//
//   - A stream is one Redis key; an entry is one element of it: an [ID] and [Fields], in order, with
//     duplicates kept.
//   - A [reader.Group] reads a stream as one consumer of a consumer group. Entries it returned are held
//     until they are settled: [reader.Group.Ack] (done), [reader.Group.Nack] (again later),
//     [reader.Group.Dead] (give up, keep a copy) or [reader.Group.Release] (somebody else, now).
//   - A lease is the claim of one consumer on one entry. The reader renews the leases of what it
//     holds every third of the lease; whoever finds an entry without a live lease may reclaim it. A
//     lease that was lost is reported: the work is somebody else's now.
//   - A [reader.Tail] follows a stream without a group, a [reader.Range] reads a piece of it.
//   - A [writer.Writer] appends. Each entry has a [Result] of its own: its ID, or an error that says whether
//     it was not written ([ErrNotWritten]) or nobody knows ([ErrUnknownOutcome]).
//   - A [schedule.Scheduler] keeps entries for later, and movers write them when they are due; a [schedule.Ticker] writes an entry
//     at certain times, once for all processes; a [dedupe.Store] remembers what is done.
//   - A [Codec] turns a value into bytes, a [Format] turns it into the fields of an entry: [Native] ones,
//     those of streamerson for Node, [streamersonv1.Format], or [Raw].
//
// # What is promised
//
// Delivery is at least once: an entry that was read is acked, dead-lettered or still pending, whatever
// fails. After any read error, and after any reply that may have been lost, the reader looks for its
// own pending entries that it does not hold before it asks for new ones. Nothing is retried blindly:
// the connections that read and write have go-redis' own retries off, for those duplicate writes and
// strand reads. A group or stream that vanished is made again at the last known position.
//
// # Operating
//
// What was given up lies in a stream of dead letters: [dead.All] reads it, [dead.Replay] gives entries another
// life, [dead.Drop] ends them. [admin.Streams] and [admin.Groups] tell what there is and who is behind,
// [admin.PendingByAge] what is stuck; [admin.Reset] moves a group, [admin.Reap] and [admin.Trim] clean up. They work on
// streams of anybody, and redisio/cmd/streams is a command that does all this.
//
// # Connections
//
// Constructors take the caller's [redis.UniversalClient] and never close it. From a *redis.Client
// (Sentinel included) or a *redis.ClusterClient they derive clients of their own with the same
// address, credentials, TLS and dialer: one that blocks in reads, one that writes, one for
// acknowledgements and claims. Any other implementation is used as it is; switch its retries off
// (MaxRetries -1), for they duplicate writes. Hooks added by AddHook are not inherited by derived clients.
//
// A reader.Group has up to 7 connections, a Writer up to 16 while it opens and then one for each
// pipeline in flight. The caller's client needs none for them. So a pipeline of source.Stream and
// sink.Stream with defaults has up to 8, and up to 23 while it starts.
//
// # When the server refuses
//
// Readers, writers and settlements wait while a server answers MISCONF (it cannot save its data, and
// so refuses writes), BUSY (a script runs for longer than busy-reply-threshold), LOADING or OOM. They
// try again until the server answers. Nothing is lost: what was not written is written then, and what
// was not acknowledged stays pending. reader.GroupConfig.OnEvent is told (EventReconnecting), and
// sink.StreamConfig.OnRetry. For MISCONF see the server's log; often its disk is full. BUSY ends with
// the script, or with SCRIPT KILL. Scripts of this package are short.
//
// A consumer group that nobody reads any more keeps a stream long, because retention drops nothing
// that a group has not read and settled. The writer names such a group by EventHeldBack, and a
// writer that waits at its HardCap or MaxBytes by StreamFullError.Group. Delete it with XGROUP
// DESTROY, or move it with [admin.Reset].
//
// # Servers
//
// Redis 7.0 commands suffice. The in-process server of redisio/embedded serves first runs and tests
// in virtual time within its limits: it ignores XCLAIM's min-idle time, forgets trimmed entries and
// keeps nothing; it is never the proof of a Redis behaviour.
package redisio
