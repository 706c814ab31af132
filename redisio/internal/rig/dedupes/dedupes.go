// Package dedupes makes dedupe stores in tests of other packages.
package dedupes

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/dedupe"
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
