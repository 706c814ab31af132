// Package schedule writes entries later. A [Scheduler] keeps entries until they are due, and its
// movers write them to their stream. A [Ticker] writes an entry at certain times, once for all
// processes.
package schedule
