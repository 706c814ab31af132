// Package rig has the helpers that the tests of redisio and its packages share. It writes and reads
// entries, logs events, loses replies in a proxy, and provides a server with scripted replies. The
// packages below it open the parts: readers, writers, schedules, dedupes.
package rig
