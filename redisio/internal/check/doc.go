// Package check refuses what no call can work with: a nil client, an empty key. It also names the
// stream in errors.
package check
