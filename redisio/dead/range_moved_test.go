package dead

import (
	"context"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A slot that has moved is found again, though go-redis does not see MOVED in a raw reply.
func TestRangeFollowsMovedSlot(t *testing.T) {
	t.Parallel()
	cluster := []*redistest.Server{
		redistest.Start(t, redistest.Args("--cluster-enabled", "yes")),
		redistest.Start(t, redistest.Args("--cluster-enabled", "yes")),
	}
	if err := cluster[0].Client(t).Do(rig.Ctx(t), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(cluster[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.Atoi(port); err != nil {
		t.Fatal(err)
	} else if err := cluster[1].Client(t).Do(rig.Ctx(t), "cluster", "meet", host, n).Err(); err != nil {
		t.Fatal(err)
	}
	other := cluster[1].Client(t)
	redistest.Soon(t, "the second node knows who has the slot", func() bool {
		return fault.Judge(other.XLen(rig.Ctx(t), "k").Err()) == fault.Moved
	})
	var asked atomic.Int64
	rdb := redis.NewClusterClient(
		&redis.ClusterOptions{ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			who := 0
			if asked.Add(1) == 1 {
				who = 1 // what was true before the slot moved
			}
			return []redis.ClusterSlot{
				{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: cluster[who].Addr()}}},
			}, nil
		}},
	)
	defer rdb.Close()
	bury(t, cluster[0].Client(t), "k", []string{"data", "1"}, Reason{})
	if got := letters(t, rdb, "k", Filter{}); len(got) != 1 {
		t.Errorf("%d letters", len(got))
	}
	if asked.Load() < 2 {
		t.Error("the slots were not asked for again: this proves nothing")
	}
}
