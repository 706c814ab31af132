package inspect

import (
	"cmp"

	"github.com/streamerson/streamerson-go/redisio"
)

// Access returns the rights of the processes of an application, on a server with ACLs, in addition to
// those that their graphs and gateways need.
//
//	rights := billing.And(inspect.Config{App: "shop"}.Access())
//	rdb.ACLSetUser(ctx, "shop", append(rights.Rules(), "on", ">password")...)
func (c Config) Access() redisio.Access {
	return redisio.Access{
		Commands: []string{
			"del", "eval", "get", "pexpire", "set", "time", "zadd", "zrem", "zremrangebyrank",
			"zremrangebyscore", "zrevrange",
		},
		Writes: []string{redisio.KeyPattern(prefixOf(cmp.Or(c.App, defaultApp))) + "*"},
	}.Apart()
}
