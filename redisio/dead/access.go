package dead

import (
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// AccessBetweenSlots is what moving entries to these streams needs in addition on a server with
// slots, if they come from streams in other slots. The streams are DeadKeys, or the targets of
// replays. The keys are names, not patterns.
func AccessBetweenSlots(keys ...string) redisio.Access {
	var copied []string
	for _, k := range keys {
		if c := script.CopiedKey(k); c != "" {
			copied = append(copied, c)
		}
	}
	return acl.Of(
		append(copied, keys...),
		"eval",
		"pexpire",
		"time",
		"type",
		"xadd",
		"xtrim",
		"zadd",
		"zrem",
		"zremrangebyrank",
		"zremrangebyscore",
	)
}
