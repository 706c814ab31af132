// Package sink makes the sinks of graphs: where values go.
//
// A sink is a description: its constructor does no I/O, and what it is given wrong is found by [flow.Graph.Validate].
// [flow.To] ends a source with it. When the graph runs, a sink writes chunks, what has come up to [flow.ChunkSize], and
// never waits for one to fill. What is written is acknowledged as far as this sink is concerned,
// and what is not goes by the fault policy, each message by itself, which by default means to try
// again those that failed.
//
// # The sinks
//
// Done is when a message counts as written; Chunk how many are written at once, unless flow.ChunkSize says otherwise.
//
//	Sink        Writes to                                   Done                                    Chunk
//	Stream      a Redis stream                              when Redis has answered                 128
//	Func        a function of a value                       when it returns nil                     1
//	Messages    a function of a message                     when it returns nil                     1
//	Batches     a function of a slice                       when it returns nil, or not this one's  256
//	                                                        error in a *flow.WriteError
//	Later       a function, and whoever settles the ticket  when the ticket is acked                1
//	            that it is given
//	Chan        a channel                                   when it was taken                       1
//	Writer      an io.Writer, with a format                 when its bytes were written             256
//	Lines       an io.Writer, a string a line               when its bytes were written             256
//	Discard     nothing                                     at once                                 256
//	Collect     memory                                      when it is kept                         256
//
// # Redis
//
// [Stream] appends the messages of a chunk in one pipeline and looks at each reply. Since a write
// whose answer was lost is written again, a message may be in the stream twice: delivery is at
// least once.
//
// # In this process
//
// [Func] is the general one: it is called with each value, and its result settles that value. [Batches] is for what is
// cheaper done for many at once. What the caller passed, a channel, an io.Writer, stays the
// caller's: it is never closed.
//
// Package flow/gostreams lends sinks of github.com/reugn/go-streams to a graph.
package sink
