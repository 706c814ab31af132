// Package dedupes makes dedupe stores in tests of other packages.
package dedupes

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// New returns a store.
func New(t *testing.T, rdb redis.UniversalClient, cfg dedupe.Config) *dedupe.Store {
	t.Helper()
	s, err := dedupe.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Claimed claims one key and returns "mine", "done" or "busy".
func Claimed(t *testing.T, s *dedupe.Store, key, token string) string {
	t.Helper()
	busy, err := s.Claim(rig.Ctx(t), []string{key}, []string{token})
	switch {
	case err != nil:
		t.Fatal(err)
	case busy[0] < 0:
		return "done"
	case busy[0] > 0:
		return "busy"
	}
	return "mine"
}
