// Package redisio works with Redis Streams. It has the words that its sub-packages share: IDs,
// entries, codecs, formats, events, errors and [Connect]. It knows nothing of graphs, operators or
// messages.
//
// # The words
//
//   - A stream is one Redis key. An entry is one element of it: an [ID] and [Fields], in order, with
//     duplicates kept.
//   - A reader.Group reads a stream as one consumer of a consumer group. It holds the entries that
//     it returned until they are settled: reader.Group.Ack (done), reader.Group.Nack (again
//     later), reader.Group.Dead (give up, keep a copy), reader.Group.Release (another reader,
//     now) or reader.Group.Undeliver (not begun: this delivery does not count).
//   - A lease is the claim of one consumer on one entry. The reader renews the leases of its entries
//     every third of the lease. Any reader may reclaim an entry without a live lease. The reader
//     reports a lost lease, because another reader has the entry then.
//   - A reader.Tail follows a stream without a group, and a reader.Range reads a part of it.
//   - A writer.Writer appends. Each entry has its own [Result]: its ID, or an error. The error
//     says that it was not written ([ErrNotWritten]) or that this is unknown ([ErrUnknownOutcome]).
//   - A schedule.Scheduler keeps entries for later, and movers write them when they are due. A
//     schedule.Ticker writes an entry at certain times, once for all processes. A dedupe.Store
//     remembers which keys are done.
//   - A [Codec] turns a value into bytes. A [Format] turns a value into the fields of an entry:
//     [Native] fields, those of streamerson for Node (streamersonv1.Format), or [Raw] ones. The file
//     WIRE.md specifies native entries for programs in other languages.
//
// # What is promised
//
// Delivery is at least once: an entry that was read is acked, dead-lettered or still pending,
// whatever fails. After a read error, or a reply that may have been lost, the reader first looks
// for pending entries of its own that it does not hold. It reads new ones after that. No command is
// retried blindly: connections that read and write have go-redis' own retries off, because these
// duplicate writes and strand reads. A group or stream that was deleted is created again at its
// last known position.
//
// # How an entry travels
//
//	Redis -> conn.Wire -> resp -> reader.Group.Read -> held.Set -> the caller
//	                                                                   |
//	Redis <- conn (control) <- reader.Group.Ack, NackEach, Dead <------+ settles
//	                                                                   |
//	Redis <- conn.Lines <- resp <- writer.Writer.Write <---------------+ writes
//
// The steps, with the file of each in brackets:
//
//   - Read: reader.Group.Read runs an ordered table of duties (reader/duties.go). It first takes
//     entries of its own that are due or were recovered (reader/recover.go), then new ones
//     (reader/new.go). It sends XREADGROUP on its own connection (internal/conn/wire.go).
//   - Decode: internal/resp/resp.go parses the reply into a [Batch]. Its entries refer to the
//     reply's buffer. The caller turns fields into a value by a [Format] (format.go, native.go).
//   - Hold: held.Set (internal/held/held.go) records the entries. A goroutine of the reader renews
//     their leases (reader/lease.go).
//   - Write: writer.Writer.Write (writer/writer.go) splits the entries into pipelines
//     (writer/send.go). Each is a list of commands that is encoded and sent (writer/command.go) on an
//     own connection (internal/conn/pool.go). Each command reads its reply (writer/replies.go).
//   - Settle: reader.Group.Ack and the others (reader/settle.go) send XACK or a script, and remove
//     the entries from held.Set when Redis has confirmed it.
//
// # Who owns what
//
//   - The client belongs to the caller. The connections derived from it belong to the reader or the
//     writer, and its Close closes them.
//   - The parts fetcher and healer of a reader.Group belong to the goroutine that has the token. Read
//     has it while it runs, and Close keeps it. All other methods may be called from anywhere.
//   - held.Set is shared by Read, by settling and by the renewing goroutine.
//   - A Batch belongs to the caller of Read. A later Read never writes to a buffer that it refers to.
//   - Entries given to Write belong to the caller. The writer keeps none of them after it returns.
//
// # Lock order
//
// The token of a reader comes first, then the right to settle (Settle and Quiesce of held.Set), then
// the mutex of held.Set. Settling never waits for the token: it takes it only if it is free. While
// Read pauses until entries are settled, it does not have the token. A mutex guards a few lines and
// is never held during I/O. The mutexes of a writer (gate, lanes.mu, lane.mu), of connections and of
// the rest are taken alone.
//
// # Operating
//
// Entries that were given up are in a stream of dead letters. Use dead.All to list them,
// dead.Replay to write them back, and dead.Drop to delete them. Use admin.Streams and admin.Groups to
// see what exists and how far groups are behind, and admin.PendingByAge to see what is stuck. To
// move a group, use admin.Reset; to clean up, admin.Reap and admin.Trim. All of them work on any
// stream. The command redisio/cmd/streams offers them in a terminal. Package doctor, and the command's
// doctor, examine a server and say what to change.
//
// # Connections
//
// Constructors take the caller's [redis.UniversalClient] and never close it. From a *redis.Client
// (Sentinel included) or a *redis.ClusterClient they derive clients of their own, with the same
// address, credentials, TLS and dialer. One blocks in reads, one writes, and one is for
// acknowledgements and claims. Any other implementation is used as it is. Set its MaxRetries to -1,
// because retries duplicate writes. Derived clients do not inherit hooks added by AddHook.
//
// A reader.Group has up to 7 connections. A Writer has up to 16 while it opens, and then one for
// each pipeline in flight. The caller's client needs none for them. So a pipeline of source.Stream
// and sink.Stream with defaults has up to 8, and up to 23 while it starts.
//
// # When the server refuses
//
// Open readers and writers wait, and try again, while a server answers MISCONF, BUSY, LOADING or
// OOM. MISCONF means that it cannot save its data, and BUSY that a script runs for longer than
// busy-reply-threshold. Nothing is lost: unwritten entries are written afterwards, and entries
// without acknowledgement stay pending. The reader reports it by EventReconnecting
// (reader.GroupConfig.OnEvent), a sink by sink.StreamConfig.OnRetry. For MISCONF see the server's
// log; often its disk is full. BUSY ends with the script, or with SCRIPT KILL. Scripts of this
// package are short.
//
// An abandoned consumer group keeps a stream long, because retention never drops what a group has
// not settled. The writer names such a group by [EventHeldBack]. A writer that waits at its HardCap
// or MaxBytes names it in StreamFullError.Group. Delete the group with XGROUP DESTROY, or move it
// with admin.Reset.
//
// # Groups shared with other clients
//
// Other clients do not renew leases, so choose a Lease longer than they need for a batch. Set their
// min-idle time above a third of it. If they raised the delivery count of an entry beyond
// MaxDeliveries, the entry is tried once. [SuspectsConsumer] and [ReleasedConsumer] hold entries for
// all readers; do not delete them.
//
// # Servers
//
// The commands of Redis 7.0 suffice. The in-process server of redisio/embedded is for first runs and
// for tests in virtual time. It ignores XCLAIM's min-idle time, forgets trimmed entries and stores
// nothing on disk. It never proves a behaviour of Redis.
package redisio
