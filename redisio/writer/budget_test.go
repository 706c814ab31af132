package writer

import (
	"bytes"
	"errors"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A stream takes no more memory than it may: what groups are done with goes, then writes are
// refused, or the oldest entries dropped.
func TestFault_S1_StreamsHaveBudgetsOfBytes(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	const budget = 256 << 10
	entry := func(i int) redisio.Outgoing {
		return redisio.Outgoing{
			Fields: redisio.Fields{
				{Name: "n", Value: []byte(strconv.Itoa(i))},
				{Name: "data", Value: bytes.Repeat([]byte("x"), 10<<10)},
			},
		}
	}
	open := func(t *testing.T, cfg Config) *Writer {
		w, err := New(rdb, cfg)
		if err == nil {
			err = w.Open(rig.Ctx(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Close(t.Context()) })
		return w
	}
	memory := func(t *testing.T, key string) int64 {
		n, err := rdb.MemoryUsage(rig.Ctx(t), key, 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Run("refuse", func(t *testing.T) {
		t.Parallel()
		key := redistest.Key(t)
		rdb.XGroupCreateMkStream(rig.Ctx(t), key, "g", "0")
		w := open(t, Config{Key: key, MaxLen: 1_000_000, MaxBytes: budget, WhenFull: FullRefuse})
		write := func(i int) error {
			return w.Write(rig.Ctx(t), []redisio.Outgoing{entry(i)}, make([]redisio.Result, 1))
		}
		n, err := 0, error(nil)
		for ; n < 100 && err == nil; n++ {
			err = write(n)
		}
		var full *StreamFullError
		if !errors.As(err, &full) || full.Bytes == 0 || full.MaxBytes != budget ||
			errors.Is(err, redisio.ErrBackpressure) ||
			n < 15 ||
			n > 26 {
			t.Fatalf("after %d entries: %v", n, err)
		}
		ids := readGroup(t, rdb, key, 10) // the group is done with some
		rdb.XAck(rig.Ctx(t), key, "g", ids...)
		redistest.Soon(t, "there is room", func() bool { return write(n) == nil })
		if m := memory(t, key); m > budget+20<<10 {
			t.Errorf("%d bytes of %d", m, budget)
		}
		if first := rdb.XRangeN(rig.Ctx(t), key, "-", "+", 1).Val(); first[0].ID == ids[0] {
			t.Error("what the group is done with is there yet")
		}
		if pending := rdb.XInfoGroups(rig.Ctx(t), key).Val()[0]; pending.Lag < int64(n-11) {
			t.Errorf("entries that the group has not read were dropped: %+v after %d", pending, n)
		}
	})
	t.Run("drop", func(t *testing.T) {
		t.Parallel()
		key := redistest.Key(t)
		w := open(t, Config{Key: key, MaxBytes: budget, WhenFull: FullDrop})
		for i := range 100 {
			if err := w.Write(rig.Ctx(t), []redisio.Outgoing{entry(i), entry(i)}, make([]redisio.Result, 2)); err != nil {
				t.Fatal(err)
			}
		}
		if m := memory(t, key); m > budget+budget/4 || m < budget/2 {
			t.Errorf("%d bytes of %d", m, budget)
		}
		if last := rdb.XRevRangeN(rig.Ctx(t), key, "+", "-", 1).Val(); last[0].Values["n"] != "99" {
			t.Errorf("the last entry is %v", last[0].Values["n"])
		}
	})
	t.Run("a user without the right to MEMORY", func(t *testing.T) {
		t.Parallel()
		srv := redistest.Start(t)
		admin := srv.Client(t)
		if err := admin.Do(rig.Ctx(t), "acl", "setuser", "poor", "on", ">pw", "~*", "&*", "+@all", "-memory").Err(); err != nil {
			t.Fatal(err)
		}
		o := *srv.Options()
		o.Username, o.Password = "poor", "pw"
		poor := redis.NewClient(&o)
		defer poor.Close()
		w, err := New(poor, Config{Key: "s", MaxBytes: budget, WhenFull: FullDrop})
		if err == nil {
			err = w.Open(rig.Ctx(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close(rig.Ctx(t))
		for i := range 100 {
			if err := w.Write(rig.Ctx(t), []redisio.Outgoing{entry(i)}, make([]redisio.Result, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if n := admin.XLen(rig.Ctx(t), "s").Val(); n < 12 || n > 32 {
			t.Errorf("%d entries of 10 KiB in %d bytes", n, budget)
		}
	})
	for _, bad := range []Config{{Key: "s", MaxBytes: -1}, {Key: "s", MaxBytes: 1000}, {Key: "s", MaxBytes: budget, Together: true}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

// readGroup reads entries for a group g, and returns their IDs.
func readGroup(t *testing.T, rdb redis.UniversalClient, key string, n int64) (ids []string) {
	t.Helper()
	got, err := rdb.XReadGroup(rig.Ctx(t), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: n}).
		Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
	}
	return ids
}
