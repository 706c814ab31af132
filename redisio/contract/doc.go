// Package contract defines the promises of package redisio as rules that can be checked on any
// server with Redis Streams. Each rule uses redisio's public API only.
//
//	func TestMyServer(t *testing.T) {
//		contract.Run(t, contract.Server{Name: "mine", Client: rdb})
//	}
//
// The rules use their own keys, in one hash slot and with a random prefix, and delete them. They
// touch nothing else, so the server may be in use.
//
// Known differences of a server are listed with their reasons. A listed difference that no longer
// exists fails the suite as well, so the list stays correct.
//
// `make compat` runs the rules on all available servers and prints a table: see
// bench/COMPATIBILITY.md.
package contract
