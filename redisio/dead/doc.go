// Package dead lists, replays and drops dead letters: entries that readers gave up, with the reason
// next to their fields. [All] lists them, [Replay] writes them back to their streams, [Drop]
// deletes them.
package dead
