// Package conn derives clients and connections from the caller's Redis client. They do not retry,
// have their own timeouts and bound the size of replies.
package conn
