package redisio

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func writeTogether(t *testing.T, rdb redis.UniversalClient, key string, n int) []Result {
	t.Helper()
	w, err := NewWriter(rdb, WriterConfig{Key: key, Together: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(ctx(t)); err != nil {
		t.Fatal(err)
	}
	defer w.Close(context.Background())
	entries, results := make([]Outgoing, n), make([]Result, n)
	for i := range entries {
		entries[i].Fields = Fields{{"data", []byte("x")}}
	}
	_ = w.Write(ctx(t), entries, results) // the results tell
	return results
}

// A reader that waits gets by one read what was written together.
func TestTogether(t *testing.T) {
	s := redistest.Start(t)
	rdb, key := s.Client(t), redistest.Key(t)
	const n = 20
	got := make(chan int, 1)
	go func() {
		read, err := rdb.XRead(context.Background(), &redis.XReadArgs{Streams: []string{key, "0"}, Count: 100, Block: 20 * time.Second}).Result()
		if err != nil {
			t.Error(err)
			got <- 0
			return
		}
		got <- len(read[0].Messages)
	}()
	admin := s.Client(t)
	eventually(t, "the reader waits", func() bool {
		return strings.Contains(admin.Info(ctx(t), "clients").Val(), "blocked_clients:1")
	})
	for i, r := range writeTogether(t, admin, key, n) {
		if r.Err != nil || r.ID == "" {
			t.Errorf("entry %d: %+v", i, r)
		}
	}
	if k := <-got; k != n {
		t.Errorf("one read got %d entries of %d", k, n)
	}
}

// What a full server refuses was not written, and is worth another try, all of it.
func TestTogetherOnFullServer(t *testing.T) {
	s := redistest.Start(t)
	rdb, key := s.Client(t), redistest.Key(t)
	add(t, rdb, key, 1)
	rdb.ConfigSet(ctx(t), "maxmemory", "1")
	for i, r := range writeTogether(t, rdb, key, 5) {
		if !errors.Is(r.Err, ErrNotWritten) || IsPermanent(r.Err) || !isFull(r.Err) {
			t.Errorf("entry %d: %v", i, r.Err)
		}
	}
	if n := rdb.XLen(ctx(t), key).Val(); n != 1 {
		t.Errorf("%d entries", n)
	}
}
