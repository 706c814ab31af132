// Package bench compares the framework with hand-written code for the same work.
//
// # Terms
//
// A [Case] describes a piece of work, but not how it is done: the state before and the state after.
// Each [Implementation] of it is one way to do the work. One of them is the reference: channels of
// chunks in process, the fastest loop with go-redis' typed commands with Redis. A [Trial] is one
// run of one implementation. [Run] alternates all implementations of a case, repeats them, and
// returns [Result]s: medians, and the ratio to the reference.
//
// # Reading the results
//
// Compare the ratios. A ratio is the rate divided by the reference's rate in the same repetition;
// the median over the repetitions is reported. Absolute rates depend on the machine, and on a
// shared one they change from minute to minute. Ratios that differ by less than about a tenth are
// equal. The CPU time per message, here and on the server, varies less than rates do.
//
// Client and server share the machine. With few cores, CPU time that one side uses is not available
// to the other.
//
// Every run is checked: stream lengths, bytes, checksums, no pending entries and no lag in the
// group, and each entry acknowledged. A wrong result is an error, not a number.
//
// The clock excludes making payloads, filling streams, creating groups, and draining a graph after
// its last entry was acknowledged on the server. It includes building and starting the graph,
// connecting, and the last acknowledgement. Allocations are those of the whole process in that
// time.
//
// The raw loops do less than graphs. They acknowledge nothing in process, keep no message after a
// failed write, restart nothing, and do not limit what is in flight. The ratio is the price of
// these features.
//
// # Running it
//
//	go run ./bench/cmd/bench -h
//	go test -bench . ./bench/...
//	make bench (adds other frameworks: see bench/peers)
//
// Redis cases need a real redis-server: the one of REDIS_URL (the command's -url), or one on PATH,
// which is started for the run. The benchmarks of go test alternate only as far as -count repeats
// them. For ratios use the command.
package bench
