package writer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func openWriter(t testing.TB, rdb redis.UniversalClient, cfg Config) *Writer {
	t.Helper()
	cfg.Wait = cmp.Or(cfg.Wait, redistest.Patience) // a busy machine may stop the server for some seconds
	w, err := New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestWrite(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for _, pipelines := range []int{1, 4} {
		key := redistest.Key(t)
		w := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{Depth: 10, Pipelines: pipelines}})
		out := rig.Outgoing(95)
		results := make([]redisio.Result, 95)
		if err := w.Write(rig.Ctx(t), out, results); err != nil {
			t.Fatal(err)
		}
		r, _ := reader.NewRange(rdb, reader.RangeConfig{Key: key})
		_ = r.Open(rig.Ctx(t))
		got := rig.Read(t, r, 95)
		var written []string
		for i := range results {
			written = append(written, results[i].ID)
		}
		if pipelines > 1 {
			slices.SortFunc(written, func(a, b string) int {
				x, _ := redisio.ParseID(a)
				y, _ := redisio.ParseID(b)
				return x.Compare(y)
			})
		} else if string(got[94].Fields[0].Value) != "94" {
			t.Fatal("order lost")
		}
		if !slices.Equal(rig.IDs(got), written) {
			t.Fatalf("%d pipelines: ids differ", pipelines)
		}
		f := got[0].Fields
		if len(f) != 3 || f[1].Name != "n" || string(f[1].Value) != "again" || len(f[2].Value) != 0 {
			t.Fatalf("fields changed: %+v", f)
		}
	}
}

// Benthos sent a whole batch again when one command failed.
func TestWriteOneBadAmongGood(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	w := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{MaxPayload: 1000}})
	rdb.Set(rig.Ctx(t), key+".str", "x", 0)
	out := rig.Outgoing(6)
	out[1].Key = key + ".str"                   // WRONGTYPE
	out[2].Fields = nil                         // arity
	out[3].Fields[0].Value = make([]byte, 1000) // too large
	out[4].ID = "5-5"                           // smaller than the top
	results := make([]redisio.Result, 6)
	err := w.Write(rig.Ctx(t), out, results)
	if !errors.Is(err, redisio.ErrNotWritten) || errors.Is(err, redisio.ErrUnknownOutcome) {
		t.Fatalf("got %v", err)
	}
	for i, bad := range []bool{false, true, true, true, true, false} {
		if (results[i].Err != nil) != bad || (results[i].ID == "") != bad ||
			bad && !errors.Is(results[i].Err, redisio.ErrNotWritten) {
			t.Errorf("result %d: %+v", i, results[i])
		}
	}
	var big *redisio.TooLargeError
	if !errors.As(results[3].Err, &big) || big.Limit != 1000 || big.Size != 1008 || !fault.IsWrongType(results[1].Err) {
		t.Errorf("got %v, %v", results[3].Err, results[1].Err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
}

// The retries of go-redis duplicate an XADD if its reply is lost.
func TestWriteLostReply(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := rig.NewProxy(t, s.Addr())
	w := openWriter(t, p.Client(t), Config{Key: key})
	p.LoseReplies("xadd", 1)
	results := make([]redisio.Result, 3)
	if err := w.Write(rig.Ctx(t), rig.Outgoing(3), results); !errors.Is(err, redisio.ErrUnknownOutcome) {
		t.Fatalf("got %v", err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 3 || p.Lost() != 1 {
		t.Fatalf("%d entries, want 3 written once", n)
	}
	p.SetDown(true)
	// Either go-redis detects that the idle connection is dead before it uses it, or the connection
	// breaks: both are possible.
	if err := w.Write(rig.Ctx(t), rig.Outgoing(3), results); err == nil {
		t.Fatal("written to a server that is down")
	}
	p.SetDown(false)
	redistest.Soon(t, "writes work again", func() bool { return w.Write(rig.Ctx(t), rig.Outgoing(1), results) == nil })
}

func TestWriteOnlyExisting(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	w := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{OnlyExisting: true}})
	out, results := rig.Outgoing(3), make([]redisio.Result, 3)
	err := w.Write(rig.Ctx(t), out, results)
	for i, err := range append([]error{err}, results[0].Err, results[2].Err) {
		if !errors.Is(err, redisio.ErrNoStream) || !errors.Is(err, redisio.ErrNotWritten) {
			t.Errorf("no stream, error %d: %v", i, err)
		}
	}
	if n := rdb.Exists(rig.Ctx(t), key).Val(); n != 0 {
		t.Fatal("the stream was made")
	}
	if err := rdb.XGroupCreateMkStream(rig.Ctx(t), key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rig.Ctx(t), out, results); err != nil {
		t.Fatal(err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
	for _, cfg := range []Config{{Tuning: Tuning{MaxAge: time.Hour}}, {Tuning: Tuning{MinID: "1-0"}}, {MaxLen: 3, Tuning: Tuning{Exact: true}}, {MaxLen: 3, Tuning: Tuning{DropUnread: true}},
		{Tuning: Tuning{MaxBytes: minBudget, WhenFull: FullRefuse}}, {Tuning: Tuning{MaxBytes: 1000}}} {
		if cfg.OnlyExisting = true; cfg.Validate() == nil {
			t.Errorf("accepted: %+v", cfg)
		}
	}
	capped := openWriter(t, rdb, Config{Key: key, Tuning: Tuning{OnlyExisting: true}, MaxLen: 100})
	for range 10 {
		out, results := rig.Outgoing(100), make([]redisio.Result, 100)
		if err := capped.Write(rig.Ctx(t), out, results); err != nil {
			t.Fatal(err)
		}
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n < 100 || n > 250 {
		t.Errorf("%d entries, want about 100, unread ones dropped", n)
	}
}

func TestWriteNobodyThere(t *testing.T) {
	s := redistest.Start(t)
	w := openWriter(t, s.Client(t), Config{Key: "k"})
	s.Kill(t)
	results := make([]redisio.Result, 2)
	redistest.Soon(t, "a refused dial is known to be not written", func() bool {
		return errors.Is(w.Write(rig.Ctx(t), rig.Outgoing(2), results), redisio.ErrNotWritten)
	})
	c, cancel := context.WithCancel(rig.Ctx(t))
	cancel()
	if err := w.Write(c, rig.Outgoing(2), results); !errors.Is(err, redisio.ErrNotWritten) ||
		!errors.Is(results[1].Err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	down, _ := New(s.Client(t), Config{Key: "k"})
	if err := down.Open(rig.Ctx(t)); err == nil {
		t.Fatal("opened")
	}
}

func TestWriteSlowServer(t *testing.T) {
	s := redistest.Start(t)
	o := s.Options()
	o.ReadTimeout = redistest.Patience // what it would wait for without the deadline
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	w := openWriter(t, rdb, Config{Key: "k"})
	s.Pause(t)
	results := make([]redisio.Result, 2)
	redistest.Soon(t, "a write is sent before its deadline", func() bool {
		c, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := w.Write(c, rig.Outgoing(2), results)
		if errors.Is(err, redisio.ErrNotWritten) {
			return false
		}
		if !errors.Is(err, redisio.ErrUnknownOutcome) || time.Since(start) > redistest.Patience/10 {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
		return true
	})
	s.Resume(t)
}

func TestWriteTrims(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	length := func(cfg Config) int64 {
		cfg.Key = redistest.Key(t)
		w := openWriter(t, rdb, cfg)
		if err := w.Write(rig.Ctx(t), rig.Outgoing(500), make([]redisio.Result, 500)); err != nil {
			t.Fatal(err)
		}
		return rdb.XLen(rig.Ctx(t), cfg.Key).Val()
	}
	if n := length(Config{MaxLen: 10, Tuning: Tuning{Exact: true}}); n != 10 {
		t.Errorf("exact MaxLen: %d", n)
	}
	if n := length(Config{MaxLen: 10, Tuning: Tuning{MaxAge: time.Hour}}); n < 10 || n > 250 {
		t.Errorf("MaxLen: %d", n)
	}
	if n := length(Config{Tuning: Tuning{MaxAge: time.Hour}}); n != 500 {
		t.Errorf("MaxAge: %d", n)
	}
	later := redisio.IDAt(time.Now().Add(time.Hour)).String()
	if n := length(Config{Tuning: Tuning{MinID: later, Exact: true}}); n != 0 {
		t.Errorf("MinID: %d", n)
	}
}

func TestTrimKeepsWhatGroupsNeed(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	all := rig.Add(t, rdb, key, 100)
	if n, err := admin.Trim(rig.Ctx(t), rdb, key, admin.TrimOptions{Exact: true}); n != 0 || err != nil {
		t.Fatalf("without groups: %d, %v", n, err)
	}
	r, _ := readers.Open(t, rdb, reader.GroupConfig{Key: key})
	got := rig.IDs(rig.Read(t, r, 60))
	if _, err := r.Ack(rig.Ctx(t), slices.Delete(slices.Clone(got), 30, 31)); err != nil {
		t.Fatal(err)
	}
	if n, err := admin.Trim(rig.Ctx(t), rdb, key, admin.TrimOptions{Exact: true}); n != 30 || err != nil {
		t.Fatalf("trimmed %d, %v; want 30: entry 30 is pending", n, err)
	}
	if _, err := r.Ack(rig.Ctx(t), got[30:31]); err != nil {
		t.Fatal(err)
	}
	before, _ := redisio.ParseID(all[40])
	if n, err := admin.Trim(rig.Ctx(t), rdb, key, admin.TrimOptions{Before: before, Exact: true}); n != 10 ||
		err != nil {
		t.Fatalf("trimmed %d, %v; want 10", n, err)
	}
	if n, err := admin.Trim(rig.Ctx(t), rdb, key, admin.TrimOptions{MaxLen: 55, Exact: true}); n != 5 || err != nil {
		t.Fatalf("trimmed %d, %v; want 5 of 60", n, err)
	}
	if n, err := admin.Trim(rig.Ctx(t), rdb, key, admin.TrimOptions{Exact: true}); n != 15 || err != nil {
		t.Fatalf("trimmed %d, %v; want 15: 45 to 59", n, err)
	}
	if n, err := admin.Trim(rig.Ctx(t), rdb, key+"none", admin.TrimOptions{}); n != 0 || err != nil {
		t.Fatalf("no stream: %d, %v", n, err)
	}
}

func TestWriterConcurrent(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	w := openWriter(t, rdb, Config{Key: key})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if err := w.Write(rig.Ctx(t), rig.Outgoing(50), make([]redisio.Result, 50)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 8000 {
		t.Fatalf("%d entries", n)
	}
}

func TestWriterConfigMistakes(t *testing.T) {
	for _, cfg := range []Config{
		{MaxLen: -1}, {Tuning: Tuning{MaxAge: -1}}, {Tuning: Tuning{MinID: "x"}}, {Tuning: Tuning{Exact: true}}, {Tuning: Tuning{DropUnread: true}}, {Tuning: Tuning{HardCap: -1}}, {Tuning: Tuning{HardCap: 5}, MaxLen: 6},
		{Tuning: Tuning{WhenFull: FullDrop}}, {Tuning: Tuning{HardCap: 1, WhenFull: 3}}, {DedupeWindow: -1}, {DedupeWindow: 1}, {Tuning: Tuning{DedupeIDs: 1000}}, {DedupeWindow: time.Minute, Tuning: Tuning{DedupeIDs: 1}},
		{DedupeWindow: time.Minute, Key: "a}b"}, {Tuning: Tuning{Durability: Durability{Replicas: -1}}}, {Tuning: Tuning{Durability: Durability{Fsync: true, Timeout: 1}}},
		{Tuning: Tuning{Durability: Durability{Timeout: time.Second}}}, {Tuning: Tuning{MaxPayload: -1}}, {Tuning: Tuning{Depth: -1}}, {Tuning: Tuning{Pipelines: 65}}, {Wait: -1},
	} {
		var c *redisio.ConfigError
		if err := cfg.Validate(); !errors.As(err, &c) || c.Fix == "" {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestWriterStates(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	w, err := New(rdb, Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	one := make([]redisio.Result, 1)
	if err := w.Write(rig.Ctx(t), rig.Outgoing(1), one); !errors.Is(err, redisio.ErrNotOpen) ||
		!errors.Is(err, redisio.ErrNotWritten) {
		t.Fatal(err)
	}
	if err := w.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rig.Ctx(t), rig.Outgoing(2), one); err == nil {
		t.Fatal("too few results were fine")
	}
	for range 2 {
		if err := w.Close(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(rig.Ctx(t), rig.Outgoing(1), one); !errors.Is(err, redisio.ErrClosed) ||
		!errors.Is(one[0].Err, redisio.ErrClosed) {
		t.Fatal(err)
	}
	if err := w.Open(rig.Ctx(t)); !errors.Is(err, redisio.ErrClosed) {
		t.Fatal(err)
	}
	rdb.Set(rig.Ctx(t), key, "x", 0)
	w, _ = New(rdb, Config{Key: key})
	var p *redisio.PermanentError
	if err := w.Open(rig.Ctx(t)); !errors.As(err, &p) {
		t.Fatal(err)
	}
}
