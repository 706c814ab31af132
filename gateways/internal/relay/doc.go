// Package relay reads a stream once per process for any number of listeners.
//
//	r := relay.New(rdb, relay.Config[*Frame]{Key: "events", Decode: encodeOnce})
//	flow.New("gateway", r.Branch())                                  // reads the stream
//	l, err := r.Listen(ctx, relay.Options{From: cursor, Topics: []string{"room:7"}})
//	for {
//		b, err := l.Next(ctx) // b.Gap first, then b.Items
//	}
//
// An entry is decoded once, and all listeners share the value. An index of topics dispatches it to
// the listeners of its topics; other listeners cost nothing. A Pool has a relay for each of many
// streams, as long as a stream has listeners.
//
// # What a listener receives
//
// A listener receives the entries of its topics, in the order of the stream, each once. None is
// missing except those that a [Gap] reports. A cursor is the ID of an entry. A listener that starts
// from a cursor first reads the later entries from the stream, then switches to live entries,
// without a hole or a duplicate. If the cursor is too old because the stream was trimmed, or
// belongs to a stream that was deleted or lost by a failover, the listener starts with a Gap. An
// entry that was deleted alone (XDEL) is not reported.
//
// # What it costs
//
// Each relay has one connection that waits for entries. It keeps the newest entries in memory,
// Config.Recent of them and at most Config.RecentBytes, so that most resuming listeners need no
// read. Each listener holds at most Config.Queue waiting items, and as many that it was given last.
// Each read of history holds one page, and at most Config.Reads reads run at the same time.
package relay
