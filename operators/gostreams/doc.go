// Package gostreams connects graphs to github.com/reugn/go-streams: connectors become sources and
// sinks of a graph, and flows become functions.
//
//	Flow      a go-streams flow as an operator               no loss
//	Func      a go-streams flow as a function of a batch     no loss
//	Source    a go-streams source as a flow.Source           done once the graph has received an element
//	Sink      a go-streams sink as a flow.Sink               done once the sink has taken a value
//	NewOutlet a flow.Source as a go-streams source           done once go-streams has taken a value
//	NewInlet  a flow.Sink as a go-streams sink               no reports to go-streams
//	Ends      an Outlet and an Inlet of one pipeline         like both, but each end stops the other
//
// # Limits of go-streams
//
// The edges of go-streams are channels of any. They carry no acknowledgements, and a failure of one
// part is not reported to the others. So at-least-once delivery ends where a value enters
// go-streams: elements inside its flows are lost if the process dies, or if the graph after an
// Inlet stops. A flow that groups or delays elements holds many.
//
// To use go-streams flows on a Redis stream without loss, keep both ends in one graph, and let
// [Flow] call the flow with batches. Entries are acknowledged when the sink has written the
// results:
//
//	shouted := gostreams.Flow[string, string](orders, 256, 50*time.Millisecond,
//		func(in streams.Source) streams.Source { return in.Via(goflow.NewMap(strings.ToUpper, 1)) })
//	g := flow.New("shout", flow.To(shouted, sink.Stream(rdb, out)))
//
// Each batch runs through its own pipeline, so flows keep no state between batches: windows of
// go-streams end with the batch. Use the windows of package operators instead.
package gostreams
