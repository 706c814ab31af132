// Package eventstore keeps events forever, and states are computed from them. It knows nothing of
// flow: package gateways/projection follows its logs.
//
// # The words
//
//   - An aggregate is a thing with a history, such as an account. Its name is any text.
//   - An [Event] is something that happened to an aggregate. Events are never changed or deleted.
//     Their values are Go structs; [Kinds] is the format for several of them.
//   - [Store.Append] adds events to an aggregate if its last event is the expected one. If another
//     caller was faster, nothing is written, and a [Conflict] has the events in between.
//   - A state is what a function makes of the events. [Aggregates] loads it, and Update appends the
//     events of a decision and decides again after a conflict.
//   - A snapshot is a stored state with the ID of the last event that it includes. It saves reading
//     older events, and may be deleted at any time.
//   - A log is the stream of all events of a partition, in order.
//
// # In Redis
//
// Each partition p of a store has keys of one hash slot, so one script can check and write all:
//
//	{bank:0}log              the log: a stream of native entries, key is the aggregate
//	{bank:0}a:alice          the index of an aggregate: a list with the IDs of its events
//	{bank:0}once:ID          the result of an append, for Config.Remember
//	{bank:0}snap:NAME:V:alice  a snapshot: a hash, for SnapshotConfig.Expire
//
// The first entry of a log is its mark: the entry 0-1 with the name of the store and the number of
// partitions. An append to a stream without the mark, or to a key of another type, is a
// [ForeignError]. An index belongs to the store if its last ID is an event of the aggregate in the
// log.
//
// An event is stored once, in the log. An index needs about 20 bytes per event, and an aggregate
// about 200 bytes. A stream per aggregate would need more than 4 KB for each aggregate, and would
// store the events twice. The price is one lookup in the log for each event of an aggregate that is
// read, a few microseconds of the server's time. Snapshots make most reads short.
//
// Events of one partition have a global order, and those of several have none. One partition takes
// tens of thousands of appends per second. Several partitions spread over the nodes of a cluster.
// The text in braces of an aggregate's name chooses its partition: aggregates with the same text can
// be appended to together, see [Store.AppendAll].
//
// # What is promised
//
// An append is one script. It writes all of its events and index entries, or none. If a reply is
// lost, it is sent again with the same ID, and the first result is returned: no event is written
// twice. The error of an append says whether it was not written (redisio.ErrNotWritten) or whether
// this is unknown (redisio.ErrUnknownOutcome). Then repeat it with the same Batch.ID.
//
// Nothing is trimmed, and nothing expires but snapshots and the results of appends. Do not trim a
// log by other means. Reading an aggregate with a deleted event fails with a [MissingError], because
// its state would be wrong. [Store.Open] refuses a server that evicts keys without an expiry. Use
// persistence (appendonly) and replicas as for any database, see redisio/doctor.
//
// The scripts of a store have a varying number of keys, all in one slot. Redis Cluster runs them. Some
// proxies in front of a cluster refuse such scripts.
//
// Groups that read a log begin at [Start], behind the mark.
package eventstore
