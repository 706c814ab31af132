package reader

import (
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// Access returns the rights that a Group needs. deadKeys are the streams passed to Dead, such as
// the DeadKey of source.Stream.
func (c GroupConfig) Access(deadKeys ...string) redisio.Access {
	a := acl.Of([]string{c.Key}, "xreadgroup", "xgroup|create", "xgroup|createconsumer", "xgroup|delconsumer",
		"time", "xinfo|groups", "xinfo|stream", "xlen", "xpending", "xrevrange", "eval")
	if !c.AtMostOnce {
		a = a.And(acl.Of(nil, "xack", "xautoclaim", "xclaim", "xinfo|consumers"))
		if c.DeleteSettled {
			a = a.And(acl.Of(nil, "xdel", "xtrim"))
		}
	}
	if len(deadKeys) > 0 {
		a = a.And(acl.Of(deadKeys, "exec", "multi", "type", "xack", "xadd", "xrange"))
	}
	if c.DelayedEvery >= 0 {
		a = a.And(acl.Of(schedule.ScheduleKeys(c.Key), "exists", "hdel", "hget", "time", "type", "xadd",
			"zadd", "zrange", "zrangebyscore", "zrem", "zremrangebyrank", "zremrangebyscore"))
	}
	return a
}

// Access returns the rights that a Tail needs.
func (c TailConfig) Access() redisio.Access {
	return redisio.Access{
		Commands: []string{"ping", "xinfo|stream", "xread", "xrevrange"},
		Reads:    []string{redisio.KeyPattern(c.Key)},
	}
}

// Access returns the rights that a Range needs.
func (c RangeConfig) Access() redisio.Access {
	return redisio.Access{Commands: []string{"ping", "xrange"}, Reads: []string{redisio.KeyPattern(c.Key)}}
}
