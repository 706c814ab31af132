// Package writer appends entries to streams. [Writer.Write] returns a [redisio.Result] for each
// entry: its ID, or an error that says whether the entry was not written ([redisio.ErrNotWritten])
// or may have been ([redisio.ErrUnknownOutcome]).
//
// A pipeline is a list of commands, see command.go. File send.go splits entries into pipelines, and
// adds the commands that the configuration needs besides XADD. File retention.go trims, once.go
// writes an entry once, together.go makes a transaction, and durability.go waits for replicas and
// for the disk.
package writer
