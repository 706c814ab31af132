package redisio_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// Tests named after defects of other systems; see defects_list_test.go of package source.

// Another system searched for idle consumers and then deleted them, with the entries that they had
// received in between. No consumer gets such entries again. Here a consumer works so slowly that it
// is repeatedly idle for long enough, while a reader deletes idle ones every few milliseconds.
func TestW5_ReapingDestroysNothingPending(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	_, l := readers.Open(
		t,
		rdb,
		reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: 30 * time.Millisecond, ReapAfter: time.Nanosecond}},
	) // it never reads
	want := rig.Add(t, rdb, key, 300)
	var got []string
	for range want {
		reply, err := rdb.XReadGroup(rig.Ctx(t),
			&redis.XReadGroupArgs{Group: "g", Consumer: "busy", Streams: []string{key, ">"}, Count: 1}).
			Result()
		if err != nil {
			t.Fatal(err)
		}
		id := reply[0].Messages[0].ID
		got = append(got, id)
		if n, err := rdb.XAck(rig.Ctx(t), key, "g", id).Result(); n != 1 || err != nil {
			t.Fatalf("%s was pending for nobody: %d, %v", id, n, err)
		}
	}
	redistest.Soon(t, "consumers were reaped", func() bool { return l.Total(redisio.EventReaped) > 0 })
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	// A consumer with pending entries stays, even if it is idle for longer than one that is
	// deleted.
	id := rig.Add(t, rdb, key, 1)[0]
	rdb.XReadGroup(
		rig.Ctx(t),
		&redis.XReadGroupArgs{Group: "g", Consumer: "gone", Streams: []string{key, ">"}, Count: 1},
	)
	rdb.XGroupCreateConsumer(rig.Ctx(t), key, "g", "later")
	redistest.Soon(t, "the other is deleted", func() bool {
		return !slices.ContainsFunc(
			rdb.XInfoConsumers(rig.Ctx(t), key, "g").Val(),
			func(c redis.XInfoConsumer) bool { return c.Name == "later" },
		)
	})
	if p := rig.Pending(t, rdb, key)[id]; p.Consumer != "gone" {
		t.Errorf("pending %+v", p)
	}
}

// A script moved each due entry by XADD, and removed all of them at the end. After an error in
// between, the entries before it existed twice.
func TestO6_DelayedEntriesMoveOneByOne(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	s, err := schedule.New(rdb, schedule.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	const n = 7
	var due []schedule.Delayed
	for i := range n {
		due = append(
			due,
			schedule.Delayed{
				At:     time.Now().Add(-time.Minute),
				Fields: redisio.Fields{{Name: "n", Value: fmt.Append(nil, i)}},
			},
		)
	}
	if err := s.Schedule(rig.Ctx(t), due, make([]redisio.Result, n)); err != nil {
		t.Fatal(err)
	}
	// A stream that accepts two more entries: then its IDs are exhausted.
	rdb.XAdd(
		rig.Ctx(t),
		&redis.XAddArgs{Stream: key, ID: "18446744073709551615-18446744073709551613", Values: []string{"n", "first"}},
	)
	if _, _, err := s.Move(rig.Ctx(t)); err == nil {
		t.Fatal("all were moved")
	}
	moved := readers.All(t, rdb, key)[1:]
	rdb.Del(rig.Ctx(t), key)
	if _, _, err := s.Move(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	if len(moved) != 2 {
		t.Errorf("%d were moved before the error, want 2", len(moved))
	}
	var got []string
	for _, e := range append(moved, readers.All(t, rdb, key)...) {
		got = append(got, string(e.Fields[0].Value))
	}
	if slices.Sort(got); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5", "6"}) {
		t.Errorf("got %v", got)
	}
}
