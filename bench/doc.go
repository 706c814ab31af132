// Package bench compares the framework with hand-written code that does the same work.
//
// # The words
//
// A [Case] is a piece of work, said without saying how: what is there before, what must be there
// afterwards. Each of its [Implementation]s does it in one way, and one of them is the reference:
// raw channels with chunks in process, the best loop that go-redis' typed commands allow with
// Redis. A [Trial] is one run of one implementation. [Run] repeats all implementations of a case by
// turns and gives [Result]s: medians, and the ratio to the reference.
//
// # How to read it
//
// What counts is the ratio: the rate divided by that of the reference in the same repetition, the median over the
// repetitions. Absolute rates change with the machine, and on a shared one from minute to minute;
// ratios that differ by less than a tenth or so are the same. The CPU time that a message costs,
// here and on the server, changes less than rates do.
//
// Client and server share the machine. With few cores a message's CPU time on one side is missing on the other.
//
// Every run is checked: lengths of streams, bytes, checksums, nothing pending and no lag in the group, each entry
// acknowledged. A wrong result is an error, not a number.
//
// Not on the clock: making payloads, filling streams, making groups, and draining a graph after its last entry has been
// acknowledged on the server. On it: building and starting the graph, connecting, the last acknowledgement. Allocations
// are those of the whole process in that time.
//
// The raw loops do less than graphs: they acknowledge nothing in process, keep no message back from a failed write,
// restart nothing, and do not bound what is in flight. They are what one gives up for that, or not.
//
// # Running it
//
//	go run ./bench/cmd/bench -h
//	go test -bench . ./bench/...
//
// Redis cases need a real redis-server: the one of REDIS_URL (the command's -url), or one on PATH
// that is started for the run. The benchmarks of go test take turns only as far as -count repeats
// them; for ratios use the command.
package bench
