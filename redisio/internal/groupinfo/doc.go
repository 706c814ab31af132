// Package groupinfo asks the server for the state of a consumer group.
package groupinfo
