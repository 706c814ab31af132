package acl

import (
	"github.com/streamerson/streamerson-go/redisio"
)

// Literals returns a pattern for each key that matches only this key.
func Literals(keys []string) []string {
	patterns := make([]string, len(keys))
	for i, k := range keys {
		patterns[i] = redisio.KeyPattern(k)
	}
	return patterns
}

// Of returns the rights to run commands on keys that are read and written.
func Of(writes []string, commands ...string) redisio.Access {
	return redisio.Access{Commands: append(commands, "ping"), Writes: Literals(writes)}.And()
}
