package schedule_test

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// A reminder for tomorrow can be cancelled until then; one that is due goes to the stream, by any mover.
func ExampleScheduler() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
	defer done()
	s, err := schedule.New(rdb, schedule.Config{Key: "reminders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	text := func(v string) redisio.Fields { return redisio.Fields{{Name: "data", Value: []byte(v)}} }
	entries := []schedule.Delayed{
		{ID: "tea", At: time.Now().Add(-time.Second), Fields: text("drink your tea")},
		{ID: "milk", At: time.Now().Add(24 * time.Hour), Fields: text("buy milk")},
	}
	err = s.Schedule(ctx, entries, make([]redisio.Result, len(entries)))
	fmt.Println("error:", err)

	moved, _, err := s.Move(ctx) // what Run and Keep do, and the readers of a group
	fmt.Println("moved:", moved, "error:", err)
	info, err := s.Info(ctx)
	fmt.Println("waiting:", info.Count, "error:", err)
	found, err := s.Find(ctx, "milk", "tea")
	fmt.Println("found:", len(found), string(found[0].Fields[0].Value), "error:", err)
	cancelled, err := s.Cancel(ctx, "milk", "tea")
	fmt.Println("cancelled:", cancelled, "error:", err)
	// Output:
	// error: <nil>
	// moved: 1 error: <nil>
	// waiting: 1 error: <nil>
	// found: 1 buy milk error: <nil>
	// cancelled: 1 error: <nil>
}
