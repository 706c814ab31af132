package schedule

import (
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
)

// Access is what a Scheduler needs to schedule, cancel, list and move.
func (c Config) Access() redisio.Access {
	return acl.Of(
		ScheduleKeys(c.Key),
		"eval",
		"exists",
		"hdel",
		"hget",
		"hmget",
		"hset",
		"time",
		"type",
		"xadd",
		"zadd",
		"zcard",
		"zcount",
		"zrange",
		"zrangebyscore",
		"zrem",
		"zremrangebyrank",
		"zremrangebyscore",
		"zscore",
	)
}

// Access is what a Ticker needs.
func (c TickerConfig) Access() redisio.Access {
	return acl.Of([]string{c.Key}, "eval", "time", "type", "xadd", "xinfo|stream", "xrevrange")
}
