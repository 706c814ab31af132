// Package writer appends entries to streams. [Writer.Write] returns a [redisio.Result] for each
// entry: its ID, or an error that says whether the entry was not written ([redisio.ErrNotWritten])
// or may have been ([redisio.ErrUnknownOutcome]).
//
// pipeline.go and xadd.go send, send.go adds what needs more than XADD, retention.go trims, once.go
// writes an entry once, and durability.go waits for replicas and for the disk.
package writer
