// Package faulttest tests the guarantees of the Redis endpoints by injecting faults. It runs
// ordinary graphs in real processes on real redis-servers, injects faults into both, and counts
// every message by its id. Command bench/cmd/faults runs it.
//
// A [Scenario] is one kind of fault. Its trial starts servers, a pool of worker processes (this
// program in another role: see [Worker]) and a producer that numbers its messages. A schedule of
// faults, drawn from the seed, runs while messages are produced. The trial then waits until all
// work is done and reads the ledger from the streams themselves. The ledger shows which ids were
// produced, how often each was written to the output, and which are dead letters.
//
// Terms of a result:
//
//   - lost: produced and still in the input, but in neither the output nor the dead letters.
//   - duplicated: in the output more often than produced. At-least-once delivery allows duplicates
//     after a process died or a reply was lost. Each scenario states how many its faults explain;
//     one more is a failure.
//   - stall: the longest time without progress while there was work. The allowed stall covers a
//     lease, the search for abandoned entries, the outage itself and its backoff.
//   - void: the scenario injected too few faults to prove anything. This is a failure too.
package faulttest
