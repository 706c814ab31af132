package reader

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/schedules"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// TestScheduleOutlivesWhoScheduled: only a reader of the stream is left when the entry is due.
func TestScheduleOutlivesWhoScheduled(t *testing.T) {
	srv := redistest.Shared(t)
	key := redistest.Key(t)
	gone := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	s := schedules.New(t, gone, schedule.Config{Key: key})
	schedules.Schedule(
		t,
		s,
		schedule.Delayed{
			ID:     "x",
			At:     time.Now().Add(300 * time.Millisecond),
			Fields: redisio.Fields{{Name: "n", Value: []byte("x")}},
		},
	)
	_ = gone.Close()
	rdb := srv.Client(t)
	for _, noAck := range []bool{false, true} {
		r, _ := open(
			t,
			rdb,
			GroupConfig{
				Key:        key,
				Group:      fmt.Sprint("g", noAck),
				AtMostOnce: noAck,
				Tuning:     Tuning{DelayedEvery: 20 * time.Millisecond},
			},
		)
		if e := rig.Read(t, r, 1)[0]; string(e.Fields[0].Value) != "x" {
			t.Errorf("read %v", e)
		}
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 1 {
		t.Errorf("%d entries", n)
	}
	// A reader reports once what it cannot move, and continues to read.
	other := redistest.Key(t)
	if err := rdb.Set(rig.Ctx(t), schedule.ScheduleKeys(other)[1], "text", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r, l := open(t, rdb, GroupConfig{Key: other, Tuning: Tuning{DelayedEvery: 20 * time.Millisecond}})
	redistest.Soon(t, "it says so", func() bool { return l.Times(redisio.EventMoveFailed) == 1 })
	rig.Add(t, rdb, other, 1)
	rig.Read(t, r, 1)
}

// The schedule is in Redis, and so on its disk: it outlives a server that is killed.
func TestScheduleOutlivesItsServer(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	rdb := srv.Client(t)
	s := schedules.New(t, rdb, schedule.Config{Key: "k"})
	at := time.Now()
	for i := range 20 {
		schedules.Schedule(
			t,
			s,
			schedule.Delayed{
				ID:     fmt.Sprintf("%02d", i),
				At:     at.Add(time.Duration(i-5) * 100 * time.Millisecond),
				Fields: redisio.Fields{{Name: "n", Value: fmt.Append(nil, i)}},
			},
		)
	}
	schedules.Schedule(
		t,
		s,
		schedule.Delayed{
			ID:     "far",
			At:     time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
			Fields: redisio.Fields{{Name: "n", Value: []byte("far")}},
		},
	)
	moved := schedules.MoveAll(t, s)
	srv.Kill(t)
	srv.Restart(t)
	r, _ := open(t, rdb, GroupConfig{Key: "k", Tuning: Tuning{DelayedEvery: 20 * time.Millisecond}})
	for i, e := range rig.Read(t, r, 20) {
		if string(e.Fields[0].Value) != fmt.Sprint(i) {
			t.Errorf("%s came as number %d", e.Fields[0].Value, i)
		}
	}
	if moved < 5 || rdb.XLen(rig.Ctx(t), "k").Val() != 20 {
		t.Errorf("%d moved before the end, %d entries", moved, rdb.XLen(rig.Ctx(t), "k").Val())
	}
	if n, next, err := s.Move(rig.Ctx(t)); n != 0 || next < 200*365*24*time.Hour || err != nil {
		t.Errorf("%d moved, the next in %v, %v", n, next, err)
	}
}
