// Package dead lists, replays and drops dead letters: entries that readers gave up, with the reason
// next to their fields. [All] and [Newest] list them, [Replay] writes them back to their
// streams, [ReplayAs] does so with other fields, and [Drop] deletes them.
package dead
