package admin

import (
	"github.com/streamerson/streamerson-go/redisio"
)

// AccessToInspect is what looking at streams and their dead letters needs: Streams, InspectStreams,
// Groups, PendingEntries, DeadLetters, and following a stream. The keys are patterns, as "orders*".
func AccessToInspect(keys ...string) redisio.Access {
	return redisio.Access{
		Commands: []string{
			"exists",
			"ping",
			"scan",
			"time",
			"xinfo|consumers",
			"xinfo|groups",
			"xinfo|stream",
			"xlen",
			"xpending",
			"xrange",
			"xread",
			"xrevrange",
		},
		Reads: keys,
	}.And()
}

// AccessToRepair is what changing streams by hand needs: Reset, Reap, Trim, and replaying and
// dropping dead letters, which needs the streams that they go back to as well. It comes beside
// AccessToInspect. The keys are patterns.
func AccessToRepair(keys ...string) redisio.Access {
	return redisio.Access{
		Commands: []string{
			"eval",
			"exec",
			"multi",
			"ping",
			"type",
			"unwatch",
			"watch",
			"xack",
			"xadd",
			"xclaim",
			"xdel",
			"xgroup|delconsumer",
			"xgroup|setid",
			"xinfo|consumers",
			"xinfo|groups",
			"xlen",
			"xpending",
			"xrange",
			"xtrim",
		},
		Writes: keys,
	}.And()
}
