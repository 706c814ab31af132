// Package scatter divides a message into parts, on which many processes work, and gathers their
// results.
//
//	var tiles = scatter.Config[Tile, Pixels]{Name: "tiles", Within: time.Minute} // for both ends
//
//	pictures := source.Stream(rdb, source.StreamConfig[Picture]{Key: "pictures", Group: "render"})
//	rendered := scatter.Out(pictures, rdb, tiles, split) // flow.Source[scatter.Gathered[Picture, Pixels]]
//	flow.New("origin", flow.To(rendered, sink.Func(store)))
//
//	flow.New("worker", scatter.Work(rdb, tiles, render, flow.Workers(4))) // in any number of processes
//
// # The words
//
// The message that is divided is the origin, and a gather is the state of its parts in Redis. The
// entry of the origin stays pending, with its lease, until the gather is over and the output of
// [Out] is done. An entry of a part is acknowledged when its result is in the gather.
//
// # What is promised
//
// Everything may be killed at any time. If the process of an origin dies, another one receives the
// origin. It divides it again, recognizes the gather by the origin's ID and the bytes of the parts,
// sends the parts that were not sent, and waits on. So split should return the same parts for the
// same value; if it does not, the work is done again. If a worker dies, another one receives the
// part. A part may be done twice, but its result counts once. If a failover of the server loses a
// gather, or parts that were sent, the origin is delivered again. An origin in memory, of a source
// that cannot deliver it again, stops its graph instead.
//
// A gather is over when all parts have succeeded, or Config.Quorum of them; when so many have failed
// that this cannot happen; or after Config.Within. Without success the origin is rejected with an
// [*IncompleteError], or passed on with what has come if Config.Partial is set. Results that come
// later are dropped, and their parts are counted as dropped in the snapshot of the worker's source.
//
// A part fails when the function of the worker has failed for Config.Attempts deliveries, or has
// rejected it, or if its workers died as often. Its error arrives at the origin as a [*PartError].
//
// # Bounds
//
// The number and the sizes of parts and results are limited, with typed errors
// ([*gather.TooLargeError]). A process waits for at most Config.Open origins at once. Beyond them it
// sends the parts of the few that it has read ahead. Config.MaxQueued parts may wait for workers;
// origins wait for room. All keys expire, see [gather.Store].
//
// The results of an origin are not streamed: all of them are in the server until the gather is over,
// and then in one [Gathered]. They have at most Config.MaxResults bytes, and 1 KiB for each failed
// part. A process has the results of as many origins as the stages behind Out hold, at most those
// that the source may have in flight. With large results set MaxInFlight of the source, or let the
// workers store them elsewhere and return their names.
//
// A process that waits for any number of gathers has one connection on which the server tells it
// what has closed. It also asks every five seconds, with one pipeline for all gathers.
package scatter
