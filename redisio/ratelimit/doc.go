// Package ratelimit shares a rate limit between processes through Redis.
package ratelimit
