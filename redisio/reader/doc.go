// Package reader reads streams. [Group] reads as one consumer of a consumer group, [Tail] follows a
// stream without a group, and [Range] reads existing entries.
//
// # How a Group works
//
// Each Read runs rounds (loop.go) until one returns entries. A round runs an ordered table of duties
// (duties.go): merge into a recreated group, redeliver delayed entries, recover lost replies, look
// for suspects, reclaim abandoned entries, and read new ones. A Group holds the entries that it
// returned until they are settled by Ack, Nack, Dead, Release or Undeliver.
//
// A Group consists of parts. Each has its own state:
//
//   - loop (loop.go, health.go): open or closed, the right to read, retries. Tail has one too.
//   - consumer (consumer.go): the place in the group, connections, held entries and event counters.
//   - leases (lease.go, restore.go): renews leases, restores entries, gives up lost ones.
//   - fetcher (new.go, take.go, recover.go, pool.go): the commands that fetch entries, and what
//     to fetch. Owned by the holder of the loop's token.
//   - healer (heal.go): recreates a lost group. Owned by the holder of the token.
//   - settler (settle.go, release.go, dead.go): ends deliveries.
//   - keeper (keep.go): the background goroutines.
package reader
