// Package sink makes the sinks of graphs, which write values.
//
// A sink is a description: its constructor does no I/O, and [flow.Graph.Validate] reports wrong
// arguments. [flow.To] ends a source with a sink. A running sink writes chunks of the available
// values, up to [flow.ChunkSize], and never waits for a chunk to fill. Written messages are
// acknowledged for this sink. The fault policy applies to each message that was not written; by
// default it is retried.
//
// # The sinks
//
// The column Done shows when a message is written. Chunk is the maximum written at once, unless
// flow.ChunkSize is set.
//
//	Sink        Writes to                                   Done                                    Chunk
//	Stream      a Redis stream                              when Redis has answered                 128
//	Func        a function of a value                       when it returns nil                     1
//	Messages    a function of a message                     when it returns nil                     1
//	Batches     a function of a slice                       when it returns nil, or a               256
//	                                                        *flow.WriteError with nil for it
//	Later       a function that settles it by a ticket,     when the ticket is acked                1
//	            now or later
//	Chan        a channel                                   when the channel has taken it           1
//	Writer      an io.Writer, with a format                 when its bytes were written             256
//	Lines       an io.Writer, one line per string           when its bytes were written             256
//	Discard     nothing                                     at once                                 256
//	Collect     memory                                      when it is kept                         256
//
// # Redis
//
// [Stream] appends the messages of a chunk in one pipeline and checks each reply. If a reply
// is lost, the write is repeated, so a message may be in the stream twice: delivery is at least once.
//
// # In this process
//
// [Func] is the general sink: it calls a function with each value, and the result settles that
// value. [Batches] is for functions that are cheaper when called with many values at once. Channels
// and io.Writers belong to the caller and are never closed.
//
// Package operators/gostreams adapts sinks of github.com/reugn/go-streams to a graph.
package sink
