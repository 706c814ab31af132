package writer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func openTogether(t *testing.T, rdb redis.UniversalClient, key string) *Writer {
	t.Helper()
	w, err := New(rdb, Config{Key: key, Tuning: Tuning{Together: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	return w
}

func (w *Writer) writeSome(t *testing.T, n int) []redisio.Result {
	t.Helper()
	entries, results := make([]redisio.Outgoing, n), make([]redisio.Result, n)
	for i := range entries {
		entries[i].Fields = redisio.Fields{{Name: "data", Value: []byte("x")}}
	}
	_ = w.Write(rig.Ctx(t), entries, results) // the results tell
	return results
}

// A waiting reader receives entries that were written together in one read.
func TestTogether(t *testing.T) {
	s := redistest.Start(t)
	rdb, key := s.Client(t), redistest.Key(t)
	const n = 20
	got := make(chan int, 1)
	go func() {
		read, err := rdb.XRead(context.Background(),
			&redis.XReadArgs{Streams: []string{key, "0"}, Count: 100, Block: 20 * time.Second}).
			Result()
		if err != nil {
			t.Error(err)
			got <- 0
			return
		}
		got <- len(read[0].Messages)
	}()
	admin := s.Client(t)
	redistest.Soon(t, "the reader waits", func() bool {
		return strings.Contains(admin.Info(rig.Ctx(t), "clients").Val(), "blocked_clients:1")
	})
	for i, r := range openTogether(t, admin, key).writeSome(t, n) {
		if r.Err != nil || r.ID == "" {
			t.Errorf("entry %d: %+v", i, r)
		}
	}
	if k := <-got; k != n {
		t.Errorf("one read got %d entries of %d", k, n)
	}
}

// If a full server refuses a transaction, no entry was written, and all may be retried.
func TestTogetherOnFullServer(t *testing.T) {
	s := redistest.Start(t)
	rdb, key := s.Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 1)
	w := openTogether(t, rdb, key)
	rdb.ConfigSet(rig.Ctx(t), "maxmemory", "1")
	for i, r := range w.writeSome(t, 5) {
		if !errors.Is(r.Err, redisio.ErrNotWritten) || redisio.IsPermanent(r.Err) || !fault.IsFull(r.Err) {
			t.Errorf("entry %d: %v", i, r.Err)
		}
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// Without the right to transactions the writer writes without them, and reports the correct
// results.
func TestTogetherWithoutTheRight(t *testing.T) {
	s := redistest.Start(t)
	admin := s.Client(t)
	may := func(rules ...any) {
		t.Helper()
		if err := admin.Do(rig.Ctx(t),
			append([]any{"acl", "setuser", "u", "on", "nopass", "~*", "+@all"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	may()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "u", Password: "any"})
	t.Cleanup(func() { rdb.Close() })
	good := func(t *testing.T, results []redisio.Result) {
		t.Helper()
		for i, r := range results {
			if r.Err != nil || r.ID == "" || r.ID == "QUEUED" {
				t.Errorf("entry %d: %+v", i, r)
			}
		}
	}
	for _, lacks := range []string{"-multi", "-exec"} {
		t.Run(lacks, func(t *testing.T) {
			key := redistest.Key(t)
			may(lacks)
			w := openTogether(t, rdb, key)
			for range 2 {
				good(t, w.writeSome(t, 3))
			}
			if n := admin.XLen(rig.Ctx(t), key).Val(); n != 6 {
				t.Errorf("%d entries of 6", n)
			}
			may()
		})
	}
	t.Run("taken away", func(t *testing.T) {
		key := redistest.Key(t)
		w := openTogether(t, rdb, key)
		may("-multi")
		for range 2 {
			good(t, w.writeSome(t, 3))
		}
		if n := admin.XLen(rig.Ctx(t), key).Val(); n != 6 {
			t.Errorf("%d entries of 6", n)
		}
		may()
	})
	t.Run("the end taken away", func(t *testing.T) {
		key := redistest.Key(t)
		w := openTogether(t, rdb, key)
		may("-exec")
		for i, r := range w.writeSome(t, 3) {
			if !errors.Is(r.Err, redisio.ErrNotWritten) {
				t.Errorf("entry %d: %+v", i, r)
			}
		}
		good(t, w.writeSome(t, 3)) // not by the connection that is in a transaction
		if n := admin.XLen(rig.Ctx(t), key).Val(); n != 3 {
			t.Errorf("%d entries of 3", n)
		}
		may()
	})
}
