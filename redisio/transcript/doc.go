// Package transcript keeps finite streams in Redis: each has one writer at a time, an end, and a
// time to live.
//
//	store, err := transcript.New(rdb, transcript.Config{Prefix: "{answers}:durable"})
//	info, created, err := store.Create(ctx, id, transcript.Spec{})
//	claim, err := store.Claim(ctx, id, "text/plain")     // fences all earlier writers
//	err = store.Append(ctx, id, &claim, transcript.Value([]byte("hello")))
//	page, err := store.Page(ctx, id, redisio.ID{}, 100)  // from the beginning
//
// A transcript is a reply, which a claim allows one process to write, or a log, to which anybody
// may Post. Its states are open, and then done, failed or stopped for good.
//
// Entries are numbered without holes. The ID of entry n is "<base>-<n>", where base is the time of
// the creation in microseconds. So a reader knows how many entries are missing before the oldest
// one that is kept, and a repeated append writes nothing twice. A position of another transcript
// with the same name has another base.
//
// A transcript is bounded by Config.MaxLen and Config.MaxBytes: the oldest entries are trimmed.
// It expires Config.TTL after the last write, or Config.Keep after its end. Package gateways/durable
// has typed writers and followers.
package transcript
