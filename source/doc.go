// Package source makes the sources of graphs: where values come from.
//
// A source is a description, like all parts of a graph: its constructor does no I/O, and
// [flow.Graph.Validate] reports wrong arguments. A running source reads as many entries as it has
// credits for ([flow.MaxInFlight], [flow.MaxBytes]), and no more until some of them are settled. So
// the slowest sink sets the pace.
//
// # The sources
//
// Told names the receiver of an entry's outcome. Ends tells when the source ends by itself. Every
// source ends when the graph drains.
//
//	Source      Reads                                        Told                       Ends
//	Stream      a Redis stream, as a member of a group       Redis: XACK, redelivery,   never, or at the
//	                                                         dead letters               end that its
//	                                                                                    producers mark
//	Tail        a Redis stream as it grows, without a group  none                       never
//	Range       a part of a Redis stream, once               none                       at the end of the range
//	Of          its arguments                                none                       after the last
//	Seq         a sequence of values and errors              none                       with the sequence
//	Values      a sequence of values                         none                       with the sequence
//	Chan        a channel                                    none                       when it is closed
//	Lines       the lines of an io.Reader                    none                       at io.EOF
//	LinesUpTo   the same, with another limit per line        none                       at io.EOF
//	Every       a value for each tick of a clock             none                       never
//	Ticks       times, each once for all processes           the group, per tick        never
//	Queue       values pushed into its Inbox                 the caller of Deliver      after Close
//
// # Redis
//
// [Stream] shares a stream with all readers of its group, in this process and others. Each entry is
// delivered at least once, and is acknowledged when all its output is done. [Tail] and [Range] have
// no group and read every entry: Tail new entries, from now or from an id or a time on, and Range
// existing ones. They acknowledge nothing. Entries that were unfinished when the process died are
// read again only if the next run starts before them.
//
// # In this process
//
// The other sources cannot deliver a value again. So a value that fails for good, after its retries
// in place, stops the graph with an error that wraps [flow.ErrNotRedeliverable]: nothing is lost
// silently. A policy that ends in [flow.Drop] drops the value instead. Queue is the exception: the
// caller of Deliver receives its value's failure.
//
// Seq and Lines call functions that may block indefinitely: a sequence, or a Read of standard
// input. They call them on a goroutine of their own, so that only they are delayed, and abandon it
// when the graph drains.
//
// # In separate packages
//
// Package source/cron ticks at the times of a crontab line, and package operators/gostreams adapts
// sources of github.com/reugn/go-streams to a graph. Only programs that import them link their
// dependencies.
package source
