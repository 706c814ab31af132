// Package contract says what package redisio promises, as rules that can be checked on any server that speaks Redis
// Streams: each rule is a small story told through redisio's public side.
//
//	func TestMyServer(t *testing.T) {
//		contract.Run(t, contract.Server{Name: "mine", Client: rdb})
//	}
//
// The rules use keys of their own, in one hash slot and with a random prefix, and delete them. Nothing else on the
// server is touched, so it may be one that is in use.
//
// What a server is known to do differently is listed beside it, with the reason. Such a difference
// is expected; one that is gone fails the suite as well, so that the list stays true.
//
// `make compat` runs the rules on all servers there are and prints a table: see bench/COMPATIBILITY.md.
package contract
