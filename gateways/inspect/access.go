package inspect

import (
	"cmp"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
)

// Access returns the rights of the processes of an application, on a server with ACLs, in addition to
// those that their graphs and gateways need. The keys are patterns: streams of dead letters that are
// not in DeadKeys, and with AllowActions also the streams that they return to.
//
//	rights := billing.And(inspect.Config{App: "shop"}.Access("orders:dead"))
//	rdb.ACLSetUser(ctx, "shop", append(rights.Rules(), "on", ">password")...)
func (c Config) Access(keys ...string) redisio.Access {
	own := redisio.Access{
		Commands: []string{
			"del", "eval", "get", "llen", "lrange", "mget", "pexpire", "rpush", "set", "time", "zadd", "zrem",
			"zremrangebyrank", "zremrangebyscore", "zrevrange",
		},
		Writes: []string{redisio.KeyPattern(prefixOf(cmp.Or(c.App, defaultApp))) + "*"},
	}.Apart()
	for _, key := range c.DeadKeys {
		keys = append(keys[:len(keys):len(keys)], redisio.KeyPattern(key))
	}
	switch {
	case len(keys) == 0:
		return own
	case c.AllowActions:
		return own.And(admin.AccessToInspect(keys...).Apart(), admin.AccessToRepair(keys...).Apart())
	}
	return own.And(admin.AccessToInspect(keys...).Apart())
}
