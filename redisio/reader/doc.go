// Package reader reads streams: [Group] as one consumer of a consumer group, [Tail] without a group
// as entries arrive, [Range] a piece that is there.
//
// A Group holds the entries that it returned until they are settled by Ack, Nack, Dead, Release or
// Undeliver, and renews their leases. The files: group.go opens and closes, read.go and recover.go
// choose what to read next, settle.go ends deliveries, and lease.go renews. Two files, restore.go and
// lostgroup.go, repair what a server forgot. The last, pool.go, shares suspects and released entries
// with other readers.
package reader
