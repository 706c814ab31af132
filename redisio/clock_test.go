package redisio_test

import (
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
)

// The clock uses the fastest recent sample, and forgets old ones.
func TestFault_G4_ClockOfRedis(t *testing.T) {
	var c redisio.Clock
	now := time.Unix(1_700_000_000, 0)
	saw := func(after, ahead, late time.Duration) {
		now = now.Add(after)
		c.Saw(now.Add(-ahead-late), now)
	}
	want := func(ahead time.Duration) {
		t.Helper()
		if got := c.Ahead(); got != ahead {
			t.Errorf("ahead by %v, want %v", got, ahead)
		}
	}
	want(0)
	saw(0, time.Hour, 8*time.Second) // what had waited
	want(time.Hour + 8*time.Second)
	saw(time.Second, time.Hour, time.Millisecond)
	saw(time.Second, time.Hour, 3*time.Second)
	want(time.Hour + time.Millisecond)
	saw(40*time.Second, time.Hour, 2*time.Millisecond)
	want(time.Hour + time.Millisecond)
	saw(40*time.Second, 2*time.Hour, 0) // it was set
	saw(40*time.Second, 2*time.Hour, 0)
	want(2 * time.Hour)
	saw(time.Second, -time.Minute, 0)
	want(-time.Minute)
	rdb := redistest.Shared(t).Client(t)
	var asked redisio.Clock
	if err := asked.Ask(rig.Ctx(t), rdb); err != nil || asked.Ahead() < -time.Second || asked.Ahead() > 10*time.Second {
		t.Errorf("the clock of a server here is behind by %v, %v", asked.Ahead(), err)
	}
}

// A limit is a duration on the wire, and a deadline by the time of the entry.
func TestFault_G4_LimitsTravelAsDurations(t *testing.T) {
	for name, f := range map[string]redisio.Format[string]{"native": redisio.Native(redisio.String()),
		"v1": streamersonv1.Format(redisio.String())} {
		fields, _, err := f.Encode(nil, nil, &redisio.Envelope{ID: "1", Limit: 1500 * time.Millisecond}, "x")
		if err != nil {
			t.Fatal(err)
		}
		var e redisio.Envelope
		if _, err := f.Decode(&redisio.Entry{ID: "5000-1", Position: redisio.ID{Ms: 5000, Seq: 1}, Fields: fields},
			&e); err != nil {
			t.Fatal(err)
		}
		if e.Limit != 1500*time.Millisecond || !e.Deadline.Equal(time.UnixMilli(6500)) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
