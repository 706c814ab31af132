// Package faulttest proves what the Redis endpoints promise, by faults: it runs ordinary graphs in
// real processes on real redis-servers, hurts both, and counts every message by its id. Command
// bench/cmd/faults runs it.
//
// A [Scenario] is one kind of hurt. Its trial starts servers, a pool of worker processes (this
// program again, in another role: see [Worker]) and a producer that numbers its messages; a
// schedule of faults, drawn from the seed, runs while messages are produced. Then everything is let
// come to rest, and the ledger is read from the streams themselves: which ids were produced, which
// came out, how often, and which lie in the dead letters.
//
// The words of a result:
//
//   - lost: produced, in the stream to be read, and in neither the output nor the dead letters.
//   - duplicated: in the output more often than it was produced. At least once allows it where a
//     process died or a reply was lost; each scenario says how many its faults explain, and one
//     more is a failure.
//   - stall: the longest time without progress while there was work. A lease, the search for it,
//     the outage itself and the backoff it caused are allowed.
//   - void: fewer faults than the scenario needs to prove anything. That is a failure, too.
package faulttest
