package reader

import (
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A reader that gets nothing, or does not read at all, resets the idle time of its consumer.
func TestFault_G9_LiveReadersAreNotIdle(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	open(t, rdb, GroupConfig{Key: key, Group: "g"}) // reads nothing
	var most time.Duration
	redistest.Soon(t, "it is idle for less than AliveFor, and then less so", func() bool {
		all := rdb.XInfoConsumers(rig.Ctx(t), key, "g").Val()
		if len(all) != 1 {
			t.Fatalf("consumers %v", all)
		}
		if idle := all[0].Idle; idle >= most {
			most = idle
			return false
		}
		alive := most < AliveFor // unless the machine stopped: then the next time counts
		most = all[0].Idle
		return alive
	})
}
