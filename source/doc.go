// Package source makes the sources of graphs: where values come from.
//
// A source is a description, like everything a graph is made of: its constructor does no I/O, and
// what it is given wrong is found by [flow.Graph.Validate]. When the graph runs, the source reads
// as many entries as it has credits for ([flow.MaxInFlight], [flow.MaxBytes]) and no more until
// some of them are settled, so the slowest sink sets the pace.
//
// # The sources
//
// Told is who learns how an entry ended; Ends is when the source does by itself. Every source ends when the graph
// drains.
//
//	Source      Reads                                        Told                       Ends
//	Stream      a Redis stream, as a member of a group       Redis: XACK, redelivery,   never
//	                                                         dead letters
//	Tail        a Redis stream as it grows, on its own       nobody                     never
//	Range       a part of a Redis stream, once               nobody                     at the end of the range
//	Of          its arguments                                nobody                     after the last
//	Seq         a sequence of values and errors              nobody                     with the sequence
//	Values      a sequence of values                         nobody                     with the sequence
//	Chan        a channel                                    nobody                     when it is closed
//	Lines       the lines of an io.Reader                    nobody                     at io.EOF
//	LinesUpTo   the same, with a limit of your own           nobody                     at io.EOF
//	Every       a value for each tick of a clock             nobody                     never
//	Ticks       times, each once for all processes           the group, per tick        never
//	Queue       what is pushed into its Inbox                the caller of Deliver      after Close
//
// # Redis
//
// [Stream] shares a stream with all readers of its group, in this process and others. Each entry is delivered at least
// once, and is acknowledged when all that came of it is done. [Tail] and [Range] have no group, and read everything for
// themselves: Tail what comes, from now or from an id or a time on, and Range what is there already. They acknowledge
// nothing, so what was not finished when the process died is read again only if they begin before it.
//
// # In this process
//
// The other sources cannot deliver a value again. So a value that fails for good, when its retries
// in place are used up, stops the graph, with an error that wraps [flow.ErrNotRedeliverable]:
// nothing is lost in silence. A policy that ends in [flow.Drop] gives it up instead. Queue is the
// exception: its value's failure is told to the one who waits for it.
//
// Seq and Lines call what may block for as long as it likes: a sequence, a Read of standard input. They do it on a
// goroutine of its own, so that it delays nothing but itself, and leave it behind when the graph drains.
//
// # In packages of their own
//
// Package source/cron ticks at the times of a crontab's line, and package flow/gostreams lends sources of
// github.com/reugn/go-streams to a graph. Their parsers and bridges are linked into programs that
// import them, and no others.
package source
