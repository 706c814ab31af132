package dedupe

import (
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
)

// Access returns the rights that a Store needs.
func (c Config) Access() redisio.Access {
	a := acl.Of(nil, "del", "eval", "get", "pttl", "set")
	a.Writes = []string{redisio.KeyPattern(c.Prefix) + ":*"}
	return a
}
