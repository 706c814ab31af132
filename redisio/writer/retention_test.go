package writer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// write writes n entries and fails the test unless all are written.
func write(t testing.TB, w *Writer, n int) []redisio.Result {
	t.Helper()
	results := make([]redisio.Result, n)
	if err := w.Write(rig.Ctx(t), rig.Outgoing(n), results); err != nil {
		t.Fatal(err)
	}
	return results
}

// take reads n entries as consumer c of a group, and returns their ids.
func take(t testing.TB, rdb redis.UniversalClient, key, group string, n int64) (ids []string) {
	t.Helper()
	got, err := rdb.XReadGroup(rig.Ctx(t),
		&redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{key, ">"}, Count: n, Block: -1}).
		Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
	}
	if int64(len(ids)) != n {
		t.Fatalf("took %d of %d", len(ids), n)
	}
	return ids
}

func TestRetentionKeepsWhatGroupsNeed(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for name, cfg := range map[string]Config{
		"MaxLen": {MaxLen: 100}, "MaxAge": {Tuning: Tuning{MaxAge: time.Millisecond}}, "MinID": {Tuning: Tuning{MinID: redisio.IDAt(time.Now().Add(time.Hour)).String()}},
		"MaxLen exact": {MaxLen: 100, Tuning: Tuning{Exact: true}}, "MaxAge exact": {Tuning: Tuning{MaxAge: time.Millisecond, Exact: true}},
	} {
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			cfg.Key, cfg.OnEvent = key, func(e redisio.Event) {
				if e.Kind != redisio.EventHeldBack {
					t.Errorf("event: %v %v", e.Kind, e.Err)
				}
			}
			rig.Grouped(t, rdb, key, "fast", "slow")
			w := openWriter(t, rdb, cfg)
			write(t, w, 2000)
			if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 2000 {
				t.Fatalf("%d entries left of 2000 that nobody has read", n)
			}
			rdb.XAck(rig.Ctx(t), key, "fast", take(t, rdb, key, "fast", 2000)...)
			slow := take(t, rdb, key, "slow", 1500)
			write(t, w, 2000)
			if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 4000 {
				t.Fatalf("%d entries left of 4000: the first is pending", n)
			}
			held := slow[700]
			rdb.XAck(rig.Ctx(t), key, "slow", slices.Delete(slow, 700, 701)...)
			write(t, w, 2000)
			left := rdb.XLen(rig.Ctx(t), key).Val()
			if !w.acked && (left > 5300 && cfg.Exact || left > 5400 || left < 5300) {
				t.Errorf("%d entries left, want 5300: the first 700 are settled", left)
			}
			if len(rdb.XRange(rig.Ctx(t), key, held, held).Val()) != 1 {
				t.Error("a pending entry was dropped")
			}
			if s := w.Stats(); s.Lost != 0 || s.Trimmed != 6000-left {
				t.Errorf("stats %+v with %d left", s, left)
			}
		})
	}
}

// If all entries are read and settled, MaxLen still keeps its number of entries, for readers of
// ranges.
func TestRetentionKeepsMaxLen(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for _, exact := range []bool{false, true} {
		key := key + fmt.Sprint(exact)
		rig.Grouped(t, rdb, key, "g")
		w := openWriter(t, rdb, Config{Key: key, MaxLen: 500, Tuning: Tuning{Exact: exact}})
		for range 10 {
			write(t, w, 1000)
			rdb.XAck(rig.Ctx(t), key, "g", take(t, rdb, key, "g", 1000)...)
			if n := rdb.XLen(rig.Ctx(t), key).Val(); n < 500 || n > 1750 {
				t.Errorf("%d entries", n)
			}
		}
		write(t, w, 1)
		if n := rdb.XLen(rig.Ctx(t), key).Val(); exact && n != 500 {
			t.Errorf("exact: %d entries", n)
		}
	}
}

func TestRetentionDropsUnreadIfTold(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for _, exact := range []bool{false, true} {
		key := redistest.Key(t)
		var told atomic.Int64
		w := openWriter(
			t,
			rdb,
			Config{
				Key:    key,
				MaxLen: 200,
				Tuning: Tuning{DropUnread: true, Exact: exact},
				OnEvent: func(e redisio.Event) {
					if e.Kind != redisio.EventDropped || e.Key != key {
						t.Errorf("event: %+v", e)
					}
					told.Add(int64(e.Count))
				},
			},
		)
		rig.Grouped(t, rdb, key, "g", "h")
		write(t, w, 100)
		first := take(t, rdb, key, "g", 60) // h reads nothing
		rdb.XAck(rig.Ctx(t), key, "g", first[:50]...)
		rdb.XAck(rig.Ctx(t), key, "h", take(t, rdb, key, "h", 70)...)
		// Lost will be: 10 pending for g, 10 that g had not read, and all but some 200 of the 1000 new ones.
		write(t, w, 1000)
		left := rdb.XLen(rig.Ctx(t), key).Val()
		want := 1100 - left - 50
		if s := w.Stats(); s.Lost != want || s.Trimmed != 1100-left || told.Load() != want || left > 500 ||
			left < 200 ||
			exact && left != 200 {
			t.Errorf("exact %v: %d left, stats %+v, told of %d, want %d lost", exact, left, s, told.Load(), want)
		}
	}
}

func TestRetentionByAge(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	old := redisio.IDAt(time.Now().Add(-time.Hour))
	for i := range 300 {
		rdb.XAdd(
			rig.Ctx(t),
			&redis.XAddArgs{Stream: key, ID: fmt.Sprintf("%d-%d", old.Ms, i), Values: []string{"n", "1"}},
		)
	}
	rdb.XGroupCreate(rig.Ctx(t), key, "g", "0")
	w := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{MaxAge: time.Minute}})
	write(t, w, 10)
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 310 {
		t.Fatalf("%d entries", n)
	}
	rdb.XAck(rig.Ctx(t), key, "g", take(t, rdb, key, "g", 300)...)
	write(t, w, 1000)
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n < 1010 || n > 1110 {
		t.Errorf("%d entries, want 1010 and part of a node", n)
	}
	rdb.XGroupDestroy(rig.Ctx(t), key, "g")
	write(t, w, 1000)
}

// An age that reaches back before time zero keeps everything.
func TestRetentionByAnAgeBeyondAllTime(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	w := openWriter(
		t,
		rdb,
		Config{
			Key: key,
			Tuning: Tuning{
				MaxAge:  math.MaxInt64,
				HardCap: 20,
				Exact:   true,
			},
			OnEvent: func(e redisio.Event) { t.Errorf("%v: %v", e.Kind, e.Err) },
		},
	)
	write(t, w, 20)
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 20 {
		t.Errorf("%d entries", n)
	}
}

// While no entry can be dropped without loss, writes return an error. They succeed again when
// consumers have made room.
func TestHardCapPauses(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Grouped(t, rdb, key, "g")
	w := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{HardCap: 250}})
	results := make([]redisio.Result, 300)
	err := w.Write(rig.Ctx(t), rig.Outgoing(300), results)
	var full *StreamFullError
	if !errors.As(err, &full) || !errors.Is(err, redisio.ErrBackpressure) || !errors.Is(err, redisio.ErrNotWritten) ||
		full.Cap != 250 ||
		full.Length != 250 {
		t.Fatalf("got %v", err)
	}
	for i := range results {
		if (results[i].Err == nil) != (i < 250) {
			t.Fatalf("entry %d: %v", i, results[i].Err)
		}
	}
	if err := w.Write(rig.Ctx(t), rig.Outgoing(5), results); !errors.Is(err, redisio.ErrBackpressure) ||
		rdb.XLen(rig.Ctx(t), key).Val() != 250 {
		t.Fatalf("got %v, %d entries", err, rdb.XLen(rig.Ctx(t), key).Val())
	}
	ids := take(t, rdb, key, "g", 100)
	rdb.XAck(rig.Ctx(t), key, "g", ids[:60]...)
	if err := w.Write(rig.Ctx(t), rig.Outgoing(100), results); !errors.Is(err, redisio.ErrBackpressure) {
		t.Fatalf("got %v", err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 250 || results[59].Err != nil || results[60].Err == nil {
		t.Fatalf("%d entries; entry 59: %v, 60: %v", n, results[59].Err, results[60].Err)
	}
	if s := w.Stats(); s.Trimmed != 60 || s.Lost != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestHardCapRefuses(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	w := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{HardCap: 10, WhenFull: FullRefuse}})
	results := make([]redisio.Result, 11)
	var full *StreamFullError
	if err := w.Write(rig.Ctx(t), rig.Outgoing(11), results); !errors.As(err, &full) ||
		errors.Is(err, redisio.ErrBackpressure) ||
		!errors.Is(err, redisio.ErrNotWritten) {
		t.Fatalf("got %v", err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 10 || results[10].Err == nil || results[9].Err != nil {
		t.Errorf("%d entries", n)
	}
}

func TestHardCapDrops(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Grouped(t, rdb, key, "g")
	w := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{HardCap: 100, WhenFull: FullDrop}, MaxLen: 50})
	write(t, w, 80)
	rdb.XAck(rig.Ctx(t), key, "g", take(t, rdb, key, "g", 20)...)
	take(t, rdb, key, "g", 10)
	write(t, w, 120)
	if s, n := w.Stats(), rdb.XLen(rig.Ctx(t), key).Val(); n != 100 || s.Trimmed != 100 || s.Lost != 80 {
		t.Errorf("%d entries, stats %+v; want 100, and 80 of 100 lost", n, s)
	}
}

// Independent writers exceed the cap by at most one pipeline each.
func TestHardCapManyWriters(t *testing.T) {
	t.Parallel()
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Grouped(t, rdb, key, "g")
	const lanes, depth, limit, each = 4, 16, 200, 1000
	var written atomic.Int64
	c, stop := context.WithCancel(rig.Ctx(t))
	var wg, reader sync.WaitGroup
	for range lanes {
		w := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{HardCap: limit, Depth: depth}})
		wg.Go(func() {
			for left := each; left > 0; {
				out, results := rig.Outgoing(min(left, depth)), make([]redisio.Result, depth)
				err := w.Write(rig.Ctx(t), out, results)
				if err != nil && !errors.Is(err, redisio.ErrBackpressure) {
					t.Error(err)
					return
				}
				for i := range out {
					if results[i].Err == nil {
						left--
						written.Add(1)
					}
				}
			}
		})
	}
	var most, read atomic.Int64
	reader.Go(func() {
		for c.Err() == nil {
			most.Store(max(most.Load(), rdb.XLen(c, key).Val()))
			got, err := rdb.XReadGroup(c,
				&redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: 30,
					Block: 10 * time.Millisecond}).
				Result()
			if err != nil {
				continue
			}
			for _, m := range got[0].Messages {
				rdb.XAck(c, key, "g", m.ID)
				read.Add(1)
			}
		}
	})
	wg.Wait()
	redistest.Soon(t, "all is read", func() bool { return read.Load() == lanes*each })
	stop()
	reader.Wait()
	if written.Load() != lanes*each || most.Load() > limit+lanes*depth {
		t.Errorf("%d written, %d entries at once, want at most %d", written.Load(), most.Load(), limit+lanes*depth)
	}
}

// An entry that is pending for long blocks the trimming, unless the server can trim around it.
func TestRetentionAroundAHeldEntry(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Grouped(t, rdb, key, "g")
	w := openWriter(t, rdb, Config{Key: key, MaxLen: 100, Tuning: Tuning{Exact: true}})
	write(t, w, 1000)
	ids := take(t, rdb, key, "g", 900)
	rdb.XAck(rig.Ctx(t), key, "g", ids[1:]...)
	write(t, w, 1)
	want := int64(1001)
	if w.acked {
		want = 102 // one pending, 101 unread
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != want {
		t.Errorf("acked %v: %d entries, want %d", w.acked, n, want)
	}
	if got := rdb.XRange(rig.Ctx(t), key, ids[0], ids[0]).Val(); len(got) != 1 {
		t.Error("the held entry is gone")
	}
}

func TestRetentionThatFails(t *testing.T) {
	s := redistest.Start(t)
	admin, key := s.Client(t), redistest.Key(t)
	admin.Do(rig.Ctx(t), "acl", "setuser", "poor", "on", "nopass", "~*", "+@all", "-xtrim")
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "poor", Password: "x"})
	defer rdb.Close()
	var failed atomic.Int64
	w := openWriter(t, rdb, Config{Key: key, MaxLen: 10, OnEvent: func(e redisio.Event) {
		if e.Kind == redisio.EventTrimFailed && e.Err != nil {
			failed.Add(1)
		}
	}})
	write(t, w, 500)
	if failed.Load() == 0 || admin.XLen(rig.Ctx(t), key).Val() != 500 {
		t.Errorf("told %d times, %d entries", failed.Load(), admin.XLen(rig.Ctx(t), key).Val())
	}
}

// A server without free memory refuses writes. Trimming and consumers make room, and writing
// continues.
func TestWriteOutOfMemory(t *testing.T) {
	s := redistest.Start(t, redistest.Args("--maxmemory", "8mb", "--maxmemory-policy", "noeviction"))
	rdb := s.Client(t)
	for name, cfg := range map[string]Config{"plain": {}, "once": {DedupeWindow: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			cfg.Key = redistest.Key(t)
			rig.Grouped(t, rdb, cfg.Key, "g")
			w := openWriter(t, rdb, cfg)
			payload := make([]byte, 16<<10)
			written, full := 0, false
			var out redisio.Outgoing
			for n := 0; !full; n++ {
				out = redisio.Outgoing{Fields: redisio.Fields{{Name: "n", Value: payload}}, DedupeID: fmt.Sprint(n)}
				var r [1]redisio.Result
				err := w.Write(rig.Ctx(t), []redisio.Outgoing{out}, r[:])
				full = errors.Is(err, redisio.ErrBackpressure)
				if full && (!errors.Is(err, redisio.ErrNotWritten) || !errors.Is(r[0].Err, redisio.ErrBackpressure)) ||
					err != nil && !full ||
					n > 1000 {
					t.Fatal(err)
				}
				if !full {
					written++
				}
			}
			ids := take(t, rdb, cfg.Key, "g", int64(written))
			rdb.XAck(rig.Ctx(t), cfg.Key, "g", ids...)
			if n, err := admin.Trim(rig.Ctx(t), rdb, cfg.Key, admin.TrimOptions{Exact: true}); err != nil ||
				int(n) != written {
				t.Fatalf("trimmed %d of %d: %v", n, written, err)
			}
			redistest.Soon(t, "writing goes on", func() bool {
				var r [1]redisio.Result
				return w.Write(rig.Ctx(t), []redisio.Outgoing{out}, r[:]) == nil && !r[0].Duplicate
			})
			rdb.Del(rig.Ctx(t), cfg.Key)
		})
	}
}

// A writer opens on a full server, because consumers may make room soon.
func TestWriterOpensOnAFullServer(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client(t)
	if err := rdb.ConfigSet(rig.Ctx(t), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	w := openWriter(t, rdb, Config{Key: "k", DedupeWindow: time.Minute, MaxLen: 10, Tuning: Tuning{HardCap: 20}})
	r := make([]redisio.Result, 1)
	if err := w.Write(rig.Ctx(t), named(0, 1), r); !errors.Is(err, redisio.ErrBackpressure) ||
		!errors.Is(err, redisio.ErrNotWritten) {
		t.Errorf("got %v", err)
	}
	rdb.ConfigSet(rig.Ctx(t), "maxmemory", "0")
	for _, twice := range []bool{false, true} {
		if err := w.Write(rig.Ctx(t), named(0, 1), r); err != nil || r[0].Duplicate != twice {
			t.Errorf("got %+v, %v", r[0], err)
		}
	}
}

// trimCalls records for each call of the retention script how many entries it dropped. It makes
// go-redis send the calls, because the hooks of go-redis see them.
func trimCalls(t testing.TB, w *Writer) (dropped *[]int64) {
	dropped = new([]int64)
	w.lines.Close()
	w.lines = nil
	hook := &evals{dropped: dropped}
	w.out.AddHook(hook)
	return dropped
}

// evals records the first element of each script's reply.
type evals struct {
	mu      sync.Mutex
	dropped *[]int64
}

func (h *evals) note(cmds ...redis.Cmder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range cmds {
		if cmd, is := c.(*redis.RawCmd); is && cmd.Name() == "eval" {
			r := replies{Walker: resp.Walker{Buf: cmd.Val()}}
			if trimmed, err := r.readRetention("any"); err == nil {
				*h.dropped = append(*h.dropped, trimmed.trimmed)
			}
		}
	}
}

func (h *evals) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *evals) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.note(cmd)
		return err
	}
}

func (h *evals) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		h.note(cmds...)
		return err
	}
}

// fillTo makes a stream of n entries at once.
func fillTo(t testing.TB, rdb redis.UniversalClient, key string, n int) {
	t.Helper()
	const script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '1-'..i, 'n', i) end"
	if err := rdb.Eval(rig.Ctx(t), script, []string{key}, n).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
}

// A writer trims a long stream in steps: no script drops more than ten thousand entries, and the
// result is as configured.
func TestFault_D13_RetentionIsBounded(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	const n = 50_000
	for name, c := range map[string]struct {
		cfg    Config
		groups func(key string) // after the stream was filled
		left   int64
		lost   int64
	}{
		"MaxLen": {cfg: Config{MaxLen: 1234, Tuning: Tuning{Exact: true}}, left: 1234},
		"MaxLen, read": {cfg: Config{MaxLen: 1234, Tuning: Tuning{Exact: true}}, left: 1234, groups: func(key string) {
			rig.GroupAt(t, rdb, key, "g", "1-49999")
		}},
		"MaxLen, read in part": {cfg: Config{MaxLen: 1234, Tuning: Tuning{Exact: true}}, left: 5001,
			groups: func(key string) {
				rig.GroupAt(t, rdb, key, "g", "1-45000")
			}},
		"MinID": {cfg: Config{Tuning: Tuning{MinID: "1-48801", Exact: true}}, left: 1201},
		"unread": {cfg: Config{MaxLen: 100, Tuning: Tuning{Exact: true, DropUnread: true}}, left: 100,
			lost:   n - 99 - 20_030,
			groups: func(key string) { rig.GroupAt(t, rdb, key, "g", "1-20030") }},
		"pending": {cfg: Config{MaxLen: 100, Tuning: Tuning{Exact: true, DropUnread: true}}, left: 100, lost: n - 99,
			groups: func(key string) {
				rig.GroupAt(t, rdb, key, "g", "0")
				for range 3 {
					take(t, rdb, key, "g", 8000)
				}
			}},
		"unread by MinID": {cfg: Config{Tuning: Tuning{MinID: "1-40001", Exact: true, DropUnread: true}}, left: 10_001,
			lost:   40_000 - 15,
			groups: func(key string) { rig.GroupAt(t, rdb, key, "g", "1-15") }},
		"cap": {cfg: Config{Tuning: Tuning{HardCap: 200, WhenFull: FullDrop}}, left: 200},
	} {
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			fillTo(t, rdb, key, n)
			if c.groups != nil {
				c.groups(key)
			}
			c.cfg.Key = key
			w := openWriter(t, rdb, c.cfg)
			dropped := trimCalls(t, w)
			write(t, w, 1)
			if got := rdb.XLen(rig.Ctx(t), key).Val(); got != c.left {
				t.Errorf("%d entries left, want %d", got, c.left)
			}
			if s := w.Stats(); s.Lost != c.lost || s.Trimmed != n+1-c.left {
				t.Errorf("stats %+v, want %d lost", s, c.lost)
			}
			for _, d := range *dropped {
				if d > script.TrimStep {
					t.Errorf("one script dropped %d entries", d)
				}
			}
			if len(*dropped) < 4 {
				t.Errorf("scripts dropped %v", *dropped)
			}
		})
	}
}

// A stream that is too long for the steps of one write is trimmed by the next ones.
func TestFault_D13_NextWriteGoesOn(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	const n = (trimSteps + 3) * script.TrimStep
	fillTo(t, rdb, key, n)
	w := openWriter(t, rdb, Config{Key: key, MaxLen: 10_000})
	write(t, w, 1)
	if left := rdb.XLen(rig.Ctx(t), key).Val(); left > n-trimSteps*script.TrimStep/2 || left < 20_000 {
		t.Errorf("%d entries left after one write", left)
	}
	write(t, w, 1) // long before the next trimming is due
	if left := rdb.XLen(rig.Ctx(t), key).Val(); left < 10_000 || left > 10_200 {
		t.Errorf("%d entries left", left)
	}
}

// The event names, once, the group that keeps a stream long, and the remedy.
func TestFault_D21_AbandonedGroupIsNamed(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	held := func(l *rig.Log) (got []HeldBackError) {
		l.Mu.Lock()
		defer l.Mu.Unlock()
		for _, e := range l.Events {
			var kept *HeldBackError
			if e.Kind != redisio.EventHeldBack || !errors.As(e.Err, &kept) || kept.Group != e.Group ||
				kept.Key != e.Key {
				t.Errorf("event %v %+v", e.Kind, e)
				continue
			}
			got = append(got, *kept)
		}
		return got
	}
	// age makes the writer's knowledge of groups older.
	age := func(w *Writer, d time.Duration) {
		l := w.lanes.of(w.cfg.Key)
		l.mu.Lock()
		defer l.mu.Unlock()
		for g, s := range l.heldBack {
			s.since, s.told = s.since.Add(-d), s.told.Add(-d)
			l.heldBack[g] = s
		}
	}
	for name, cfg := range map[string]Config{
		"MaxLen": {MaxLen: 100, Tuning: Tuning{Exact: true}}, "MaxLen in whole nodes": {MaxLen: 100},
		"MaxAge": {Tuning: Tuning{MaxAge: time.Millisecond, Exact: true}},
	} {
		t.Run(name, func(t *testing.T) {
			key, l := redistest.Key(t), new(rig.Log)
			cfg.Key, cfg.OnEvent = key, l.Add
			rig.Grouped(t, rdb, key, "lags", "old")
			w := openWriter(t, rdb, cfg)
			round := func() int { // "lags" is behind, but moves
				write(t, w, 1000)
				rdb.XAck(rig.Ctx(t), key, "lags", take(t, rdb, key, "lags", 500)...)
				age(w, heldBackAfter)
				return len(held(l))
			}
			round() // nothing has moved yet
			round()
			if n := round(); n != 1 {
				t.Fatalf("%d events", n)
			}
			got := held(l)[0]
			if got.Group != "old" || got.Lag < 1000 || got.Pending != 0 || got.Consumers != 0 {
				t.Errorf("event %+v", got)
			}
			if text := got.Error(); !strings.Contains(text, "XGROUP DESTROY") || !strings.Contains(text, `"old"`) {
				t.Errorf("error %q", text)
			}
			if n := round(); n != 1 {
				t.Errorf("a minute later: %d events", n)
			}
			age(w, heldBackEvery)
			if n := round(); n != 2 {
				t.Errorf("ten minutes later: %d events", n)
			}
			age(w, heldBackEvery)
			rdb.XGroupDestroy(rig.Ctx(t), key, "old")
			if n := round(); n != 2 {
				t.Errorf("without the group: %d events", n)
			}
			if n := rdb.XLen(rig.Ctx(t), key).Val(); n > 3800 {
				t.Errorf("without the group: %d entries", n)
			}
		})
	}
	t.Run("pending", func(t *testing.T) {
		key, l := redistest.Key(t), new(rig.Log)
		rig.Grouped(t, rdb, key, "g")
		w := openWriter(t, rdb, Config{Key: key, MaxLen: 10, Tuning: Tuning{Exact: true}, OnEvent: l.Add})
		write(t, w, 100)
		ids := take(t, rdb, key, "g", 100)
		write(t, w, 200)
		age(w, heldBackAfter)
		write(t, w, 1)
		if got := held(l); len(got) != 1 || got[0].Pending != 100 || got[0].Consumers != 1 || got[0].Oldest != ids[0] {
			t.Errorf("events %+v", got)
		}
	})
	t.Run("full", func(t *testing.T) { // the error names the group that blocks
		for _, cfg := range []Config{{Tuning: Tuning{HardCap: 100}}, {Tuning: Tuning{MaxBytes: minBudget}}} {
			cfg.Key = redistest.Key(t)
			rig.Grouped(t, rdb, cfg.Key, "old")
			w := openWriter(t, rdb, cfg)
			var full *StreamFullError
			for n := range 2 {
				err := w.Write(rig.Ctx(t), rig.Outgoing(5000), make([]redisio.Result, 5000))
				if n == 0 { // it finds the end of its room
					continue
				}
				if !errors.As(err, &full) || full.Group != "old" ||
					!strings.Contains(err.Error(), `its group "old" is not done`) {
					t.Errorf("write: %v", err)
				}
			}
		}
	})
}
