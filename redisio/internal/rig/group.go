package rig

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

// Grouped makes a stream with groups at its start.
func Grouped(t testing.TB, rdb redis.UniversalClient, key string, names ...string) {
	t.Helper()
	for _, g := range names {
		if err := rdb.XGroupCreateMkStream(Ctx(t), key, g, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
}
