// Package flowtest tests graphs, operators, sources and sinks of package flow.
//
// # Probes
//
// [Feed] is a source that delivers what the test sends while the graph runs, and records how each
// entry was settled. [Collect] is a sink that keeps what arrives, and blocks and fails on request.
// [Run] and [Start] run a graph between them, and check that it has ended with nothing in flight
// and all credits returned.
//
//	func TestDouble(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			src, feed := flowtest.Feed[int](t)
//			sink, got := flowtest.Collect[int](t)
//			r := flowtest.Start(t, flow.To(Double(src), sink))
//			feed.Send(1, 2, 3)
//			got.Want(2, 4, 6)
//			feed.WantAcked(1, 2, 3)
//			feed.Close()
//			if err := r.Wait(); err != nil {
//				t.Fatal(err)
//			}
//		})
//	}
//
// When the test ends, every delivery of a feed must have been settled exactly once; this is always
// checked. Assertions wait for up to the probe's Patience.
//
// # Time
//
// There is no clock to inject: in a bubble of [testing/synctest] time is virtual, so a batch that
// waits for a minute takes no time, and its test is deterministic. Make probes inside the bubble.
// Outside of a bubble they work in real time.
//
// # Conformance
//
// [TestOperator], [TestWired] (for operators with several inputs or outputs), [TestSource] and
// [TestSink] test the duties of every operator, source and sink. Each entry is settled once, with
// the right outcome. Promised order and limits are kept. After an end, a drain or a stop nothing is
// left behind. [Traits], [SourceTraits] and [SinkTraits] state the promises. A source or sink with
// a real backend sets Real and is tested in real time. The Check of Traits is for aggregators, such
// as sums: their outputs do not reveal their inputs.
//
// TestOperator and TestWired also run seeds of chaos, and return a [Proof]: how many tests have
// proven each [Promise]. FLOWTEST_SEEDS=200 runs more seeds, and FLOWTEST_SEED=17 only that one.
//
// [SourceBackend] and [SinkBackend] have a Break: it breaks the backend, and the suite checks that
// nothing is lost. A test that hangs fails after the Limit of its traits. The message names the test
// and has the stacks of the goroutines that the test has started.
//
// # Chaos
//
// [Chaos] is a stage that delays, fails and panics at random, by a seed that is logged when the
// test fails. [ChaosAround] injects the same faults into the
// reads, commits and writes of probes.
package flowtest
