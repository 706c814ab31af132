package admin

import (
	"github.com/streamerson/streamerson-go/redisio"
)

// AccessToInspect returns the rights to inspect streams and their dead letters: Streams,
// InspectStreams, Groups, PendingEntries, DeadLetters, and following a stream. The keys are
// patterns, such as "orders*".
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

// AccessToRepair returns the rights to change streams by hand: Reset, Reap, Trim, and replaying and
// dropping dead letters. A replay also needs the streams that the dead letters return to. Grant it
// in addition to AccessToInspect. The keys are patterns.
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
