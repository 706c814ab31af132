package rig

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

func GroupAt(t testing.TB, rdb redis.UniversalClient, key, name, start string) {
	t.Helper()
	if err := rdb.XGroupCreateMkStream(Ctx(t), key, name, start).Err(); err != nil {
		t.Fatal(err)
	}
}
