package redisio_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/schedules"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// TestScheduleOnCluster runs the schedule on a cluster of one node, which checks slots as strictly
// as a larger one.
func TestScheduleOnCluster(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Args("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"))
	node := srv.Client(t)
	if err := node.ClusterAddSlotsRange(rig.Ctx(t), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the cluster is up", func() bool { return node.Set(rig.Ctx(t), "up", "1", 0).Err() == nil })
	_, port, err := net.SplitHostPort(srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{
				{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: "127.0.0.1:" + port}}},
			}, nil
		},
	})
	t.Cleanup(func() { _ = rdb.Close() })
	for _, key := range []string{"plain", "{tag}:a", "odd {x} y"} {
		s := schedules.New(t, rdb, schedule.Config{Key: key})
		want := node.ClusterKeySlot(rig.Ctx(t), key).Val()
		for _, k := range s.Keys() {
			if slot := node.ClusterKeySlot(rig.Ctx(t), k).Val(); slot != want {
				t.Errorf("%q is in slot %d, its stream in %d", k, slot, want)
			}
		}
		schedules.Schedule(t, s, past("a"), future("b"))
		r, _ := readers.Open(
			t,
			rdb,
			reader.GroupConfig{Key: key, Tuning: reader.Tuning{DelayedEvery: 20 * time.Millisecond}},
		)
		rig.Read(t, r, 1)
		if n, err := s.Cancel(rig.Ctx(t), "b"); n != 1 || err != nil {
			t.Error(n, err)
		}
		if list, err := s.List(rig.Ctx(t), 0, 9); len(list) != 0 || err != nil {
			t.Error(list, err)
		}
	}
	d := newStore(t, rdb, dedupe.Config{Prefix: "seen"})
	keys, tokens := []string{"a", "b", "c"}, []string{"1\na", "1\nb", "1\nc"}
	for range 2 {
		if busy, err := d.Claim(rig.Ctx(t), keys, tokens); err != nil || busy[0]+busy[1]+busy[2] != 0 {
			t.Error(busy, err)
		}
	}
	if err := d.Done(rig.Ctx(t), keys, tokens); err != nil {
		t.Error(err)
	}
	if err := d.Release(rig.Ctx(t), keys, tokens); err != nil {
		t.Error(err)
	}
	if got := rig.Claimed(t, d, "b", "2\nx"); got != "done" {
		t.Error(got)
	}
}
