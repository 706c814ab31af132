// Package flowtest tests what is made with package flow: graphs, operators, sources and sinks.
//
// # Probes
//
// [Feed] is a source that delivers what the test sends while the graph runs, and records how each entry was settled.
// [Collect] is a sink that keeps what arrives, and that blocks and fails as the test wants. [Run]
// and [Start] run a graph between them, and check at the end that it has ended, with nothing in
// flight and all credits back.
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
// Every delivery of a feed must have been settled once, and only once, when the test ends; nobody has to ask for that.
// Assertions wait for what they want, for as long as the probe's Patience.
//
// # Time
//
// There is no clock to inject: in a bubble of [testing/synctest] time is virtual, so that a batch
// that waits for a minute takes no time, and a test of it always gives the same result. Make probes
// inside the bubble. Outside of one they work too, in real time.
//
// # Conformance
//
// [TestOperator], [TestSource] and [TestSink] test what every operator, source and sink has to do: settle each entry
// once with the outcome it deserves, keep the order and the bounds it promises, end, drain and stop with nothing left
// behind. What is promised is said by [Traits], [SourceTraits] and [SinkTraits]. A source or sink
// with a real backend sets Real, and is tested in real time.
//
// # Chaos
//
// [Chaos] is a stage that delays, fails and panics at random, by a seed that is logged when the test fails, and
// [ChaosAround] does the same to the reads, commits and writes of probes.
package flowtest
