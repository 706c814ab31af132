// Package admin inspects and repairs streams of any program: [Streams], [Groups] and
// [PendingEntries] show their state, [Reset] moves a group, [Reap] removes consumers, and [Trim]
// drops entries. The command redisio/cmd/streams uses it.
package admin
