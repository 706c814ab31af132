package operators_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// counts counts how often each value was handled.
type counts struct {
	mu  sync.Mutex
	all map[string]int
}

func (c *counts) add(_ context.Context, v string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[v]++
	return nil
}

func (c *counts) of(v string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[v]
}

// TestDedupeOnRedis lets two graphs share a stream that holds each of 500 values four times. One
// entry was claimed by a process that died.
func TestDedupeOnRedis(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	store, err := dedupe.New(rdb, dedupe.Config{Prefix: "seen"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	rdb.XGroupCreateMkStream(ctx, "in", "g", "0")
	id := rdb.XAdd(ctx, &redis.XAddArgs{Stream: "in", Values: []string{"data", "crashed"}}).Val()
	rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "dead", Streams: []string{"in", ">"}})
	// It died an hour ago. So the lease may be longer than any pause of this process.
	if err := rdb.Do(ctx, "xclaim", "in", "g", "dead", 0, id, "idle", time.Hour.Milliseconds()).Err(); err != nil {
		t.Fatal(err)
	}
	if busy, err := store.Claim(ctx, []string{"crashed"}, []string{id + "\nformer life"}); err != nil || busy[0] != 0 {
		t.Fatal(busy, err)
	}
	pipe := rdb.Pipeline()
	const values, copies = 500, 4
	for range copies {
		for i := range values {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: "in", Values: []string{"data", fmt.Sprint(i)}})
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	seen := &counts{all: make(map[string]int)}
	graph := func() *flow.Running {
		in := source.Stream(
			rdb,
			source.StreamConfig[string]{
				Key:   "in",
				Group: "g",
				Tuning: reader.Tuning{
					Block:    50 * time.Millisecond,
					Lease:    redistest.Patience,
					MaxCount: 50,
				},
			},
		)
		return start(t, flow.To(operators.Dedupe(in, func(v string) string { return v }, store), sink.Func(seen.add)))
	}
	runs := []*flow.Running{graph(), graph()}
	deadline := time.NewTimer(redistest.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		groups, err := rdb.XInfoGroups(ctx, "in").Result()
		if err != nil {
			t.Fatal(err)
		}
		if groups[0].Lag == 0 && groups[0].Pending == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never done: %+v", groups)
		}
	}
	for _, r := range runs {
		if _, err := r.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	}
	for i := range values {
		if n := seen.of(fmt.Sprint(i)); n != 1 {
			t.Errorf("%d was handled %d times", i, n)
		}
	}
	if n := seen.of("crashed"); n != 1 {
		t.Errorf("what the dead process had was handled %d times", n)
	}
	if n := rdb.XLen(ctx, "in:dead").Val(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
