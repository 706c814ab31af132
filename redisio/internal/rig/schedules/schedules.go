// Package schedules makes schedulers and their entries in tests of other packages.
package schedules

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// New returns a scheduler.
func New(t testing.TB, rdb redis.UniversalClient, cfg schedule.Config) *schedule.Scheduler {
	t.Helper()
	s, err := schedule.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Schedule schedules entries.
func Schedule(t testing.TB, s *schedule.Scheduler, entries ...schedule.Delayed) {
	t.Helper()
	if err := s.Schedule(rig.Ctx(t), entries, make([]redisio.Result, len(entries))); err != nil {
		t.Fatal(err)
	}
}

// MoveAll moves all entries that are due.
func MoveAll(t testing.TB, s *schedule.Scheduler) (moved int) {
	t.Helper()
	for {
		n, _, err := s.Move(rig.Ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		if moved += n; n == 0 {
			return moved
		}
	}
}
