// Package probe detects commands and options beyond Redis 7.0.
package probe
