package eventstore

import (
	"github.com/streamerson/streamerson-go/redisio"
)

// Access returns the rights that a Store and its Aggregates need. Open also uses INFO, which is
// optional.
func (c Config[E]) Access() redisio.Access {
	keys := redisio.KeyPattern("{"+c.Name+":") + "*"
	return redisio.Access{
		Commands: []string{"eval", "get", "hmget", "hset", "lindex", "llen", "lrange", "pexpire", "ping",
			"rpush", "set", "type", "xadd", "xlen", "xrange", "xrevrange"},
		Writes: []string{keys},
	}.And()
}
