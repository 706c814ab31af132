package writer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// named returns n entries with dedupe ids from..from+n-1.
func named(from, n int) []redisio.Outgoing {
	out := rig.Outgoing(n)
	for i := range out {
		out[i].DedupeID = fmt.Sprint("id", from+i)
	}
	return out
}

// modes are the ways in which a writer can drop duplicates: the server's IDMP, and the script.
func modes(t *testing.T, test func(t *testing.T, open func(*testing.T, redis.UniversalClient, Config) *Writer)) {
	t.Run("server", func(t *testing.T) {
		test(t, func(t *testing.T, rdb redis.UniversalClient, c Config) *Writer { return openWriter(t, rdb, c) })
	})
	t.Run("script", func(t *testing.T) {
		test(t, func(t *testing.T, rdb redis.UniversalClient, c Config) *Writer {
			w := openWriter(t, rdb, c)
			w.idmp = false
			return w
		})
	})
}

func TestWriteOnce(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	modes(t, func(t *testing.T, open func(*testing.T, redis.UniversalClient, Config) *Writer) {
		key := redistest.Key(t)
		cfg := Config{Key: key, DedupeWindow: time.Minute}
		w, other := open(t, rdb, cfg), open(t, rdb, cfg)
		results := make([]redisio.Result, 300)
		if err := w.Write(rig.Ctx(t), named(0, 200), results); err != nil {
			t.Fatal(err)
		}
		first := results[5].ID
		out := append(
			named(100, 200),
			redisio.Outgoing{Fields: redisio.Fields{{Name: "n", Value: []byte("x")}}},
			redisio.Outgoing{ID: "99999999999999-1", DedupeID: "own", Fields: redisio.Fields{{Name: "n", Value: nil}}},
		)
		results = make([]redisio.Result, len(out))
		if err := other.Write(rig.Ctx(t), out, results); err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil || r.Duplicate != (i < 100) || !r.Duplicate && r.ID == "" {
				t.Fatalf("entry %d: %+v", i, r)
			}
		}
		one := make([]redisio.Result, 3)
		same := append(named(5, 1), named(900_000, 1)[0], named(900_000, 1)[0])
		if err := w.Write(rig.Ctx(t), same, one); err != nil || !one[0].Duplicate || one[1].Duplicate ||
			!one[2].Duplicate {
			t.Fatalf("got %+v, %v", one, err)
		}
		if w.idmp && (one[0].ID != first || one[2].ID != one[1].ID) {
			t.Errorf("ids %+v, want that of the first", one)
		}
		if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 303 {
			t.Errorf("%d entries, want 303", n)
		}
		if a, b := w.Stats().Duplicates, other.Stats().Duplicates; a != 2 || b != 100 {
			t.Errorf("counted %d and %d duplicates", a, b)
		}
	})
}

// The window is bounded: by its time, and by the number of ids.
func TestWriteOnceForgets(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	modes(t, func(t *testing.T, open func(*testing.T, redis.UniversalClient, Config) *Writer) {
		key := redistest.Key(t)
		w := open(t, rdb, Config{Key: key, DedupeWindow: time.Second, Tuning: Tuning{DedupeIDs: 1000}})
		r := make([]redisio.Result, 5000)
		redistest.Soon(t, "an id is forgotten", func() bool {
			if err := w.Write(rig.Ctx(t), named(0, 1), r); err != nil {
				t.Fatal(err)
			}
			return !r[0].Duplicate && rdb.XLen(rig.Ctx(t), key).Val() > 1
		})
		if err := w.Write(rig.Ctx(t), named(1, 5000), r); err != nil {
			t.Fatal(err)
		}
		if n := rdb.ZCard(rig.Ctx(t), onceKey(key)).Val(); n > 1000 {
			t.Errorf("%d ids are remembered", n)
		}
		if !w.idmp {
			if d, err := rdb.PTTL(rig.Ctx(t), onceKey(key)).Result(); d == -1 || err != nil { // -2: they are gone
				t.Errorf("the ids of an idle stream never expire: %v, %v", d, err)
			}
		}
	})
}

func TestWriteOnceOneBadAmongGood(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	modes(t, func(t *testing.T, open func(*testing.T, redis.UniversalClient, Config) *Writer) {
		key := redistest.Key(t)
		w := open(t, rdb, Config{Key: key, DedupeWindow: time.Minute, Tuning: Tuning{MaxPayload: 1000}})
		rdb.Set(rig.Ctx(t), key+".str", "x", 0)
		rdb.Set(rig.Ctx(t), onceKey(key+".stolen"), "x", 0)
		out := named(0, 8)
		out[1].Key = key + ".str"
		out[2].Fields = nil
		out[3].Fields[0].Value = make([]byte, 1000)
		out[4].ID = "5-5" // smaller than the top
		out[5].Fields = make(redisio.Fields, script.MaxOnceFields+1)
		out[6].Key = "a}b"
		results := make([]redisio.Result, 8)
		err := w.Write(rig.Ctx(t), out, results)
		if !errors.Is(err, redisio.ErrNotWritten) || errors.Is(err, redisio.ErrUnknownOutcome) {
			t.Fatalf("got %v", err)
		}
		for i := range out {
			bad := i > 0 && i < 7
			if (results[i].Err != nil) != bad || (results[i].ID == "") != bad ||
				bad && !errors.Is(results[i].Err, redisio.ErrNotWritten) {
				t.Errorf("result %d: %+v", i, results[i])
			}
		}
		var many *redisio.TooManyFieldsError
		var wrong *redisio.ConfigError
		if !fault.IsWrongType(results[1].Err) || !errors.As(results[5].Err, &many) ||
			!errors.As(results[6].Err, &wrong) {
			t.Errorf("got %v, %v, %v", results[1].Err, results[5].Err, results[6].Err)
		}
		if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 2 {
			t.Errorf("%d entries, want 2", n)
		}
		// A refused entry is not remembered.
		out[4].ID = ""
		if err := w.Write(rig.Ctx(t), out[4:5], results); err != nil || results[0].Duplicate {
			t.Errorf("got %+v", results[0])
		}
		if !w.idmp {
			out[7].Key = key + ".stolen"
			if err := w.Write(rig.Ctx(t), out[7:8], results); !fault.IsWrongType(err) ||
				rdb.Exists(rig.Ctx(t), key+".stolen").Val() != 0 {
				t.Errorf("the key of the ids is no sorted set: %v", err)
			}
		}
	})
}

// Replies are lost repeatedly, and entries with an unknown outcome are written again: every entry
// exists once. Without dedupe it exists once per attempt.
func TestWriteOnceLostReplies(t *testing.T) {
	const n, depth, cuts = 6000, 100, 25
	s := redistest.Shared(t)
	run := func(t *testing.T, open func(*testing.T, redis.UniversalClient, Config) *Writer, cfg Config) (extra,
		unknown int) {
		rdb, p := s.Client(t), rig.NewProxy(t, s.Addr())
		cfg.Key, cfg.Depth, cfg.Pipelines = redistest.Key(t), depth, 2
		w := open(t, p.Client(t), cfg)
		p.LoseReplies("again", cuts) // a field name: requests that write
		var mu sync.Mutex
		var wg sync.WaitGroup
		for lane := range 2 {
			wg.Go(func() {
				for at := lane * n / 2; at < (lane+1)*n/2; at += 4 * depth {
					left := named(at, min(4*depth, (lane+1)*n/2-at))
					for len(left) > 0 {
						results := make([]redisio.Result, len(left))
						if rig.Ctx(t).Err() != nil {
							t.Error("never ends")
							return
						}
						_ = w.Write(rig.Ctx(t), left, results)
						again := left[:0:0]
						for i := range left {
							if errors.Is(results[i].Err, redisio.ErrUnknownOutcome) {
								mu.Lock()
								unknown++
								mu.Unlock()
							}
							if results[i].Err != nil {
								again = append(again, left[i])
							}
						}
						left = again
					}
				}
			})
		}
		wg.Wait()
		if p.Lost() != cuts {
			t.Errorf("%d replies lost, want %d", p.Lost(), cuts)
		}
		return int(rdb.XLen(context.Background(), cfg.Key).Val()) - n, unknown
	}
	modes(t, func(t *testing.T, open func(*testing.T, redis.UniversalClient, Config) *Writer) {
		if extra, unknown := run(t, open, Config{DedupeWindow: time.Minute}); extra != 0 || unknown == 0 {
			t.Errorf("%d duplicates, %d outcomes unknown", extra, unknown)
		}
	})
	t.Run("off", func(t *testing.T) {
		open := func(t *testing.T, rdb redis.UniversalClient, c Config) *Writer { return openWriter(t, rdb, c) }
		if extra, unknown := run(t, open, Config{}); extra <= 0 || extra > unknown {
			t.Errorf("%d duplicates, %d outcomes unknown: the test proves nothing", extra, unknown)
		}
	})
}

func TestOnceKey(t *testing.T) {
	for _, test := range []struct{ key, want string }{
		{"orders", "{orders}:once"}, {"{shop}:orders", "{shop}:orders:once"}, {"a}b", ""}, {"{}a", ""}, {"a{b}c", "a{b}c:once"},
	} {
		if got := onceKey(test.key); got != test.want {
			t.Errorf("%q: %q, want %q", test.key, got, test.want)
		}
	}
}

// The limits of IDMP are set when the stream is created, and not again.
func TestWriteOnceSettings(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	w := openWriter(t, rdb, Config{Key: key, DedupeWindow: time.Hour, Tuning: Tuning{DedupeIDs: 64_000}})
	var r [1]redisio.Result
	if err := w.Write(rig.Ctx(t), named(0, 1), r[:]); err != nil {
		t.Fatal(err)
	}
	if !w.idmp {
		if n := rdb.ZCard(rig.Ctx(t), onceKey(key)).Val(); n != 1 {
			t.Errorf("%d ids in the window", n)
		}
		return
	}
	other := openWriter(t, rdb, Config{Key: key, DedupeWindow: time.Minute})
	if err := other.Write(rig.Ctx(t), named(0, 1), r[:]); err != nil || !r[0].Duplicate {
		t.Errorf("a writer with other settings made the stream forget: %+v, %v", r[0], err)
	}
	info, err := rdb.Do(rig.Ctx(t), "xinfo", "stream", key).Result()
	if m, ok := info.(map[any]any); err != nil || !ok || m["idmp-duration"] != int64(3600) ||
		m["idmp-maxsize"] != int64(2000) {
		t.Errorf("got %v, %v", info, err)
	}
}
