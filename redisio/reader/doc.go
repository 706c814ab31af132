// Package reader reads streams. [Group] reads as one consumer of a consumer group, [Tail] follows a
// stream without a group, and [Range] reads existing entries.
//
// A Group holds the entries that it returned until they are settled by Ack, Nack, Dead, Release or
// Undeliver, and renews their leases. group.go has configuration and opening. read.go and
// recover.go choose what to read next. settle.go ends deliveries. lease.go renews leases.
// restore.go and lostgroup.go restore state that a server lost. pool.go shares suspects and
// released entries with other readers.
package reader
