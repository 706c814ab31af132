package rig

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

// Grouped creates a stream with groups at its start.
func Grouped(t testing.TB, rdb redis.UniversalClient, key string, names ...string) {
	t.Helper()
	for _, g := range names {
		GroupAt(t, rdb, key, g, "0")
	}
}

// GroupAt creates a group that starts after an ID, and its stream.
func GroupAt(t testing.TB, rdb redis.UniversalClient, key, name, start string) {
	t.Helper()
	if err := rdb.XGroupCreateMkStream(Ctx(t), key, name, start).Err(); err != nil {
		t.Fatal(err)
	}
}
