// Package relay reads a stream once in a process, for any number of listeners.
//
//	r := relay.New(rdb, relay.Config[*Frame]{Key: "events", Decode: encodeOnce})
//	flow.New("gateway", r.Branch())                                  // what reads the stream
//	l, err := r.Listen(ctx, relay.Options{From: cursor, Topics: []string{"room:7"}})
//	for {
//		b, err := l.Next(ctx) // b.Gap first, then b.Items
//	}
//
// An entry is decoded once, and all listeners share the value. An index of topics leads it to those
// who want it; a listener who wants nothing costs nothing. A Pool has a relay for each of many
// streams, for as long as somebody listens.
//
// # What a listener gets
//
// The entries of its topics, in the order of the stream, each once, none missing but those that a
// [Gap] tells of. A cursor is the ID of an entry: a listener that begins with one first reads what
// came since from the stream, then joins what is live, without a hole and without an entry twice. A
// cursor that is too old, for the stream was trimmed, or of another stream, for this one was
// deleted or lost by a failover, begins with a Gap. An entry that was deleted by itself (XDEL) is
// not missed.
//
// # What it costs
//
// Each relay has one connection that waits for entries. Of memory it takes the newest entries,
// Config.Recent of them and at most Config.RecentBytes, which spare the listeners that resume a
// read; of each listener at most Config.Queue items that wait and as many that it was handed last;
// and for each read of history under way, of which there are no more than Config.Reads lets
// through, one page.
package relay
