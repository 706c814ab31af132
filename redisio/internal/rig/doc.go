// Package rig holds what the tests of redisio and its packages share: entries to write and to read,
// a log of events, a proxy that loses replies and a server that answers what a test says. The
// packages below it open the parts: readers, writers, schedules, dedupes.
package rig
