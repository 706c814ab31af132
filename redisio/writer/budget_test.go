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

// A stream stays within its memory limit: settled entries are dropped, then writes are refused or
// the oldest entries dropped.
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
		w := open(t, Config{Key: key, MaxLen: 1_000_000, Tuning: Tuning{MaxBytes: budget, WhenFull: FullRefuse}})
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
		w := open(t, Config{Key: key, Tuning: Tuning{MaxBytes: budget, WhenFull: FullDrop}})
		for i := range 100 {
			if err := w.Write(rig.Ctx(t), []redisio.Outgoing{entry(i), entry(i)},
				make([]redisio.Result, 2)); err != nil {
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
		if err := admin.Do(rig.Ctx(t), "acl", "setuser", "poor", "on", ">pw", "~*", "&*", "+@all",
			"-memory").Err(); err != nil {
			t.Fatal(err)
		}
		o := *srv.Options()
		o.Username, o.Password = "poor", "pw"
		poor := redis.NewClient(&o)
		defer poor.Close()
		w, err := New(poor, Config{Key: "s", Tuning: Tuning{MaxBytes: budget, WhenFull: FullDrop}})
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
	for _, bad := range []Config{{Key: "s", Tuning: Tuning{MaxBytes: -1}}, {Key: "s", Tuning: Tuning{MaxBytes: 1000}}, {Key: "s", Tuning: Tuning{MaxBytes: budget, Together: true}}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

// Existing streams, such as mailboxes, stay within their memory limit, whatever their number. The
// writer keeps no state of them.
func TestFault_S1_ExistingStreamsHaveBudgetsOfBytes(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	admin := srv.Client(t)
	const budget = 256 << 10
	entry := func(key string, i, size int) redisio.Outgoing {
		return redisio.Outgoing{Key: key, Fields: redisio.Fields{
			{Name: "n", Value: []byte(strconv.Itoa(i))}, {Name: "data", Value: bytes.Repeat([]byte("x"), size)},
		}}
	}
	write := func(t *testing.T, w *Writer, entries ...redisio.Outgoing) {
		t.Helper()
		if err := w.Write(rig.Ctx(t), entries, make([]redisio.Result, len(entries))); err != nil {
			t.Fatal(err)
		}
	}
	made := func(t *testing.T, key string) string {
		write(t, openWriter(t, admin, Config{}), entry(key, -1, 10))
		return key
	}
	fits := func(t *testing.T, key string, last int) {
		t.Helper()
		// a measurement is due after each sixteenth: twice the budget without one does not happen
		if m := admin.MemoryUsage(rig.Ctx(t), key, 0).Val(); m > 2*budget || m < budget/2 {
			t.Errorf("%s: %d bytes of %d", key, m, budget)
		}
		if e := admin.XRevRangeN(rig.Ctx(t), key, "+", "-", 1).Val(); e[0].Values["n"] != strconv.Itoa(last) {
			t.Errorf("%s: the last entry is %v", key, e[0].Values["n"])
		}
	}
	for name, together := range map[string]bool{"pipelines": false, "transactions": true} {
		t.Run(name, func(t *testing.T) {
			var told []redisio.Event
			w := openWriter(
				t,
				admin,
				Config{Tuning: Tuning{OnlyExisting: true, Together: together, MaxBytes: budget}, MaxLen: 16_384,
					OnEvent: func(e redisio.Event) { told = append(told, e) }},
			)
			a, b, small := made(t, "{s}a"+name), made(t, "{s}b"+name), made(t, "{s}small"+name)
			for i := range 200 {
				write(t, w, entry(a, i, 10<<10), entry(b, i, 2<<10), entry(small, i, 10))
			}
			fits(t, a, 199)
			fits(t, b, 199)
			if n := admin.XLen(rig.Ctx(t), small).Val(); n != 201 {
				t.Errorf("the small stream has %d entries of 201", n)
			}
			dropped := 0
			for _, e := range told {
				if e.Kind != redisio.EventDropped || e.Key == small {
					t.Errorf("%+v", e)
				}
				dropped += e.Count
			}
			left := admin.XLen(rig.Ctx(t), a).Val() + admin.XLen(rig.Ctx(t), b).Val()
			if s := w.Stats(); left+s.Lost != 402 || s.Lost != s.Trimmed || int(s.Lost) != dropped {
				t.Errorf("%d are left, %d dropped as told, %+v", left, dropped, s)
			}
			write(t, w, entry(a, 200, 500<<10)) // more than the budget: it stays alone
			if n := admin.XLen(rig.Ctx(t), a).Val(); n != 1 {
				t.Errorf("%d entries beside one that is too large", n-1)
			}
			if err := w.Write(rig.Ctx(t), []redisio.Outgoing{entry("{s}none"+name, 0, 500<<10)},
				make([]redisio.Result, 1)); !errors.Is(err, redisio.ErrNoStream) {
				t.Errorf("a stream that is missing: %v", err)
			}
			if len(w.lanes.m) > 0 {
				t.Errorf("%d records", len(w.lanes.m))
			}
		})
	}
	for name, rule := range map[string]string{"MEMORY": "-memory", "XTRIM": "-xtrim"} {
		t.Run("a user without the right to "+name, func(t *testing.T) {
			o, err := srv.NewUser(rig.Ctx(t), "poor-"+name, "~*", "&*", "+@all", rule)
			if err != nil {
				t.Fatal(err)
			}
			poor := redis.NewClient(o)
			t.Cleanup(func() { _ = poor.Close() })
			var told redisio.Event
			w := openWriter(t, poor, Config{Tuning: Tuning{OnlyExisting: true, MaxBytes: budget},
				OnEvent: func(e redisio.Event) { told = e }})
			key := made(t, "{s}"+name)
			for i := range 50 {
				write(t, w, entry(key, i, 10<<10))
			}
			if name == "MEMORY" {
				fits(t, key, 49)
			} else if told.Kind != redisio.EventTrimFailed || told.Key != key || told.Err == nil {
				t.Errorf("told %+v", told)
			}
		})
	}
}

// readGroup reads entries for a group g, and returns their IDs.
func readGroup(t *testing.T, rdb redis.UniversalClient, key string, n int64) (ids []string) {
	t.Helper()
	got, err := rdb.XReadGroup(rig.Ctx(t),
		&redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: n}).
		Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
	}
	return ids
}
