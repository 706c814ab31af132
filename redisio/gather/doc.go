// Package gather counts in Redis what many processes have done: the parts of a message, the
// participants of a phase, and the producers of a stream.
//
// # A gather
//
// A [Store] keeps gathers. A gather is opened with the number of its parts and its terms. The terms
// are how many parts must succeed (Need), for how long it waits (Within), and how many bytes the
// results may have. Send appends the parts to a stream, exactly once: the gather counts what was
// sent, so a process that continues after another was killed sends the rest. A worker calls Begin
// before it works on a part, and Put with the result or the failure. A part counts once, however
// often it is delivered. The gather closes as soon as its outcome is certain, and appends its ID to
// a stream of notices. Take returns the results. At the end of its time Take closes the gather with
// what has come. Results that come later are dropped and counted.
//
//	{name}:parts        the parts that wait for workers, as native entries
//	{name}:gather:<id>  a hash for each gather
//	{name}:notices      the IDs of closed gathers
//
// The keys share a hash slot. Every key expires: a gather after its time and Config.TTL, or
// Config.Keep after it was taken.
//
// Package gateways/scatter connects gathers to graphs.
//
// # A barrier
//
// A [Barrier] is reached when an expected number of participants have arrived: "phase 1 is done".
// A participant counts once, so it may arrive again after a restart. Wait blocks on the server.
//
// # The end of a stream
//
// A producer that has written all its entries calls [End.Mark]. [End.Reached] reports whether all
// producers have, and a group has settled every entry before the marks. source.StreamConfig has
// the field Producers: with it, the source ends there.
package gather
