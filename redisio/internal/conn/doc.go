// Package conn derives clients and connections from the caller's Redis client: without retries, with
// timeouts of their own, and with replies of bounded size.
package conn
