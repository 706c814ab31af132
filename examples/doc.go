// Package examples has one folder for each bundled topology, and their tests. Each runs with one
// command:
//
//	go run ./examples/hello                # an HTTP API on a stream; needs nothing installed
//	go run ./examples/crud                 # a REST resource, with a page to use it
//	go run ./examples/notify               # an inbox, mail, push, webhooks and digests
//	go run ./examples/graphql              # GraphQL answered by services, with live reviews
//	go run ./examples/chat                 # rooms in a browser, over WebSockets
//	go run ./examples/game                 # a small arena for two windows and more
//	go run ./examples/billing              # orders into a database by batches, and dead letters
//	go run ./examples/jobs                 # thumbnails in the background, with live progress
//	go run ./examples/analytics            # windows of event time, drawn live
//	go run ./examples/ledger               # accounts by event sourcing; a projection is rebuilt while it serves
//	go run ./examples/answers              # long answers that go on after a reload or a kill
//	go run ./examples/sort                 # sorts a file by several processes
//	go run ./examples/wordcount            # counts words; needs nothing installed
//	go run ./examples/read                 # prints a stream as it grows
//	go run ./examples/pipe big.txt         # writes a file to a stream
//
// The folder languages has a producer and a group consumer in Python and in Node. They follow
// redisio/WIRE.md.
package examples
