// Package gostreams connects graphs to github.com/reugn/go-streams: its connectors become sources
// and sinks of a graph, and its flows become functions.
//
//	Func      a go-streams flow as a function of a batch     nothing is lost
//	Source    a go-streams source, lent to a graph           done once the graph has received an element
//	Sink      a go-streams sink, lent to a graph             done once the sink has taken a value
//	NewOutlet a flow.Source, lent to go-streams              done once go-streams has taken a value
//	NewInlet  a flow.Sink, lent to go-streams                go-streams is told of nothing
//	Ends      an Outlet and an Inlet of one pipeline         as both, but each end stops the other
//
// # What go-streams cannot keep
//
// The edges of go-streams are channels of any. They carry no acknowledgements, and a failure of one
// part is not told to the others. So at-least-once delivery ends where a value crosses into
// go-streams: what its flows hold when the process dies, or when the graph behind an Inlet stops,
// is lost. A flow that groups or delays elements holds many.
//
// To use go-streams flows on a stream of Redis without loss, keep both ends in one graph, and let
// [Func] call the flow with batches. Entries are acknowledged when the sink has written what came
// out:
//
//	batches := operators.Batch(orders, 256, 50*time.Millisecond)
//	shouted := operators.Map(batches, gostreams.Func[string, string](func(in streams.Source) streams.Source {
//		return in.Via(goflow.NewMap(strings.ToUpper, 1))
//	}))
//	g := flow.New("shout", flow.To(operators.Unbatch(shouted), sink.Stream(rdb, out)))
//
// Every batch runs through a pipeline of its own, so flows keep no state from one batch to the
// next: windows of go-streams end with the batch. Use the windows of package operators instead.
package gostreams
