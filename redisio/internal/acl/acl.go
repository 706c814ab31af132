package acl

import (
	"github.com/streamerson/streamerson-go/redisio"
)

func Literals(keys []string) []string {
	patterns := make([]string, len(keys))
	for i, k := range keys {
		patterns[i] = redisio.Literal(k)
	}
	return patterns
}

// Of is that of commands on keys that scripts read and write.
func Of(writes []string, commands ...string) redisio.Access {
	return redisio.Access{Commands: append(commands, "ping"), Writes: Literals(writes)}.And()
}
