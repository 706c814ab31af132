package redisio_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// newStore returns a dedupe store.
func newStore(t *testing.T, rdb redis.UniversalClient, cfg dedupe.Config) *dedupe.Store {
	t.Helper()
	s, err := dedupe.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// past returns an entry that has been due for a minute.
func past(id string, fields ...redisio.Field) schedule.Delayed {
	if len(fields) == 0 {
		fields = redisio.Fields{{Name: "n", Value: []byte(id)}}
	}
	return schedule.Delayed{ID: id, At: time.Now().Add(-time.Minute), Fields: fields}
}

// future returns an entry that is due in an hour.
func future(id string) schedule.Delayed {
	return schedule.Delayed{
		ID:     id,
		At:     time.Now().Add(time.Hour),
		Fields: redisio.Fields{{Name: "n", Value: []byte(id)}},
	}
}
