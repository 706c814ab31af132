// Package probe asks a server for commands and options beyond Redis 7.0.
package probe
