package reader

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// addSized writes n entries with a value of size bytes.
func addSized(t testing.TB, rdb *redis.Client, key string, n, size int) []string {
	t.Helper()
	value := strings.Repeat("x", size)
	var ids []string
	for len(ids) < n {
		pipe := rdb.Pipeline()
		var cmds []*redis.StringCmd
		for range min(n-len(ids), max(1, (8<<20)/(size+1))) {
			cmds = append(cmds, pipe.XAdd(rig.Ctx(t), redistest.Entry(key, "data", value)))
		}
		if _, err := pipe.Exec(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
		for _, cmd := range cmds {
			ids = append(ids, cmd.Val())
		}
	}
	return ids
}

// If a server cuts the connection instead of sending a large reply, every reader asks for less.
func TestFault_D7_RepliesThatAreNotSent(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Args("--client-output-buffer-limit", "normal 1mb 0 0"))
	rdb := srv.Client(t)
	key := redistest.Key(t)
	want := addSized(t, rdb, key, 40, 300<<10) // three fit into a reply
	few := func(t *testing.T, l *rig.Log) {
		t.Helper()
		if l.Times(redisio.EventAskingLess) == 0 || l.Times(redisio.EventAskingLess) > 6 {
			t.Errorf("%d events of asking for less", l.Times(redisio.EventAskingLess))
		}
	}
	t.Run("group", func(t *testing.T) {
		r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute}})
		got := rig.Read(t, r, len(want))
		if !slices.Equal(rig.IDs(got), want) {
			t.Errorf("got %v", rig.IDs(got))
		}
		for _, e := range got {
			if e.Deliveries != 1 {
				t.Fatalf("%d deliveries", e.Deliveries)
			}
		}
		few(t, l)
		if err := r.Nack(rig.Ctx(t), want, 0); err != nil {
			t.Fatal(err)
		}
		r.asking = conn.Asking{}           // it has forgotten what it learned
		again := rig.Read(t, r, len(want)) // by the script that takes
		for _, e := range again {
			if e.Deliveries != 2 || e.Withheld || len(e.Fields) != 1 {
				t.Fatalf("%s has %d deliveries, withheld %v", e.ID, e.Deliveries, e.Withheld)
			}
		}
	})
	t.Run("a former life", func(t *testing.T) {
		cfg := GroupConfig{Key: key, Group: "named", Consumer: "me", Tuning: Tuning{Lease: time.Minute}}
		if err := rdb.XGroupCreate(rig.Ctx(t), key, "named", "0").Err(); err != nil {
			t.Fatal(err)
		}
		for range want {
			args := &redis.XReadGroupArgs{
				Group:    "named",
				Consumer: "me",
				Streams:  []string{key, ">"},
				Count:    1,
				Block:    -1,
			}
			if err := rdb.XReadGroup(rig.Ctx(t), args).Err(); err != nil {
				t.Fatal(err)
			}
		}
		r, l := open(t, rdb, cfg)
		for got := 0; got < len(want); { // suspects: the next come when these are settled
			var b redisio.Batch
			if err := r.Read(rig.Ctx(t), len(want), 0, &b); err != nil {
				t.Fatal(err)
			}
			for _, e := range b.Entries {
				if e.Deliveries != 2 {
					t.Fatalf("%s has %d deliveries, want 2", e.ID, e.Deliveries)
				}
			}
			got += len(b.Entries)
			if _, err := r.Ack(rig.Ctx(t), rig.IDs(b.Entries)); err != nil {
				t.Fatal(err)
			}
		}
		few(t, l)
	})
	t.Run("tail", func(t *testing.T) {
		l := &rig.Log{}
		r := openTail(t, rdb, TailConfig{Key: key, OnEvent: l.Add})
		if got := rig.IDs(rig.Read(t, r, len(want))); !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
		few(t, l)
	})
	t.Run("range", func(t *testing.T) {
		for _, maxBytes := range []int64{0, 64 << 20} {
			l := &rig.Log{}
			r, err := NewRange(rdb, RangeConfig{Key: key, OnEvent: l.Add})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Open(rig.Ctx(t)); err != nil {
				t.Fatal(err)
			}
			var got []string
			for len(got) < len(want) {
				var b redisio.Batch
				if err := r.Read(rig.Ctx(t), 1000, maxBytes, &b); err != nil {
					t.Fatal(err)
				}
				got = append(got, rig.IDs(b.Entries)...)
				if more := len(got) < len(want); r.More() != more && more {
					t.Fatal("there is more")
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v", got)
			}
			few(t, l)
		}
	})
	t.Run("one that is never sent keeps no other waiting", func(t *testing.T) {
		key := redistest.Key(t)
		small := addSized(t, rdb, key, 3, 10)
		huge := addSized(t, rdb, key, 1, 3<<20)
		after := addSized(t, rdb, key, 3, 10)
		r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute}})
		got := rig.Read(t, r, 7)
		if !slices.Equal(rig.IDs(got), slices.Concat(small, huge, after)) || !got[3].Withheld || got[3].Fields != nil ||
			got[3].Deliveries != 1 {
			t.Fatalf("got %v, the fourth %+v", rig.IDs(got), got[3])
		}
		if l.Times(redisio.EventWithheld) != 1 {
			t.Error("no event")
		}
		if err := r.Dead(rig.Ctx(t), key+":dead", []DeadLetter{{huge[0], redisio.Fields{{Name: "why", Value: []byte("too large")}}}}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.XLen(rig.Ctx(t), key+":dead").Val(); n != 1 {
			t.Errorf("%d dead letters", n)
		}
	})
}

// A reader retries a count that was too large much later, not with the next reply.
func TestFault_D7_AskingForMoreAgain(t *testing.T) {
	var a conn.Asking
	n, cuts := 1000, 0
	limit := 50 // entries that get through
	for range 4 * conn.CalmFor {
		if n = a.Count(1000, 0); n > limit {
			cuts++
			a.Failed(n, context.DeadlineExceeded) // says nothing
			a.Failed(n, fmt.Errorf("read: %w", io.EOF))
			continue
		}
		a.Learn(&redisio.Batch{Entries: make([]redisio.Entry, n)})
	}
	if cuts > 20 || n < 10 {
		t.Errorf("%d cuts, at the end %d asked for", cuts, n)
	}
	for range 20 * conn.CalmFor { // the limit is gone
		a.Learn(&redisio.Batch{Entries: make([]redisio.Entry, a.Count(1000, 0))})
	}
	if n := a.Count(1000, 0); n != 1000 {
		t.Errorf("asked for %d", n)
	}
}

// A batch of large entries after small ones costs at most twice MaxBytes, not COUNT times their
// size.
func TestFault_D8_MaxBytesBoundsMemory(t *testing.T) {
	o := redistest.Start(t).Options()
	o.ReadTimeout = redistest.Patience // a second try allocates as much again
	rdb := redis.NewClient(o)
	defer rdb.Close()
	key := redistest.Key(t)
	const maxBytes, small, large = 4 << 20, 3000, 60
	want := slices.Concat(addSized(t, rdb, key, small, 10), addSized(t, rdb, key, large, 1<<20))
	for name, make := range map[string]func(rdb redis.UniversalClient) reader{
		"group": func(rdb redis.UniversalClient) reader {
			group := fmt.Sprintf("%T", rdb)
			r, _ := open(t, rdb, GroupConfig{Key: key, Group: group, Tuning: Tuning{Lease: time.Minute}})
			return r
		},
		"tail": func(rdb redis.UniversalClient) reader { return openTail(t, rdb, TailConfig{Key: key}) },
		"range": func(rdb redis.UniversalClient) reader {
			r, err := NewRange(rdb, RangeConfig{Key: key})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Open(rig.Ctx(t)); err != nil {
				t.Fatal(err)
			}
			return r
		},
	} {
		for kind, rdb := range map[string]redis.UniversalClient{"": rdb,
			" of another client": struct{ redis.UniversalClient }{rdb}} {
			t.Run(name+kind, func(t *testing.T) {
				r := make(rdb)
				var got []string
				reads, most, memory := 0, 0, uint64(0)
				var before, after runtime.MemStats
				for len(got) < len(want) {
					var b redisio.Batch
					runtime.ReadMemStats(&before)
					if err := r.Read(rig.Ctx(t), 1000, maxBytes, &b); err != nil {
						t.Fatal(err)
					}
					runtime.ReadMemStats(&after)
					if len(got) < small {
						reads++
					}
					got = append(got, rig.IDs(b.Entries)...)
					most, memory = max(most, b.Bytes), max(memory, after.TotalAlloc-before.TotalAlloc)
				}
				if !slices.Equal(got, want) {
					t.Errorf("got %d entries, or in another order", len(got))
				}
				// The buffer doubles, so twice the reply is allocated; under the race detector a
				// bytes.Buffer grows twice.
				if most > 2*maxBytes || memory > 10*maxBytes {
					t.Errorf("one read took %d bytes, and allocated %d", most, memory)
				}
				if reads > 8 {
					t.Errorf("%d reads for %d small entries", reads, small)
				}
			})
		}
	}
}

// An idle reader asks a server that ignores BLOCK ten times a second.
func TestFault_D9_ServerThatIgnoresBlock(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"group", "tail"} {
		t.Run(what, func(t *testing.T) {
			var reads atomic.Int64
			var news atomic.Bool
			rdb := fake(t, func(args []string) string {
				switch args[0] {
				case "xreadgroup", "xread":
					reads.Add(1)
					if news.Load() {
						return "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
					}
					return "*-1\r\n"
				case "xinfo":
					return "*1\r\n*4\r\n$4\r\nname\r\n$1\r\ng\r\n$17\r\nlast-delivered-id\r\n$3\r\n0-0\r\n"
				case "eval":
					return ":0\r\n"
				case "info":
					return "$0\r\n\r\n"
				case "xautoclaim":
					return "*3\r\n$3\r\n0-0\r\n*0\r\n*0\r\n"
				case "xpending", "xrevrange":
					return "*0\r\n"
				}
				return "+OK\r\n"
			})
			var r reader
			if what == "group" {
				r, _ = open(t, rdb, GroupConfig{Key: "k", Tuning: Tuning{Block: time.Second}})
			} else {
				r = openTail(t, rdb, TailConfig{Key: "k", Block: time.Second})
			}
			c, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			var b redisio.Batch
			if err := r.Read(c, 1, 0, &b); err == nil {
				t.Fatal("read something")
			}
			if n := reads.Load(); n > 20 {
				t.Errorf("%d reads in half a second", n)
			}
			news.Store(true)
			if err := r.Read(rig.Ctx(t), 1, 0, &b); err != nil || len(b.Entries) != 1 {
				t.Error(err, b.Entries)
			}
		})
	}
}

func TestFault_D9_Pauses(t *testing.T) {
	{
		var i idling
		var all []time.Duration
		for range 6 {
			all = append(all, i.pause(time.Second, 0))
		}
		want := []time.Duration{10, 20, 40, 80, 100, 100}
		for n := range want {
			if all[n] != want[n]*time.Millisecond {
				t.Fatalf("pauses %v", all)
			}
		}
		if d := i.pause(time.Second, time.Second); d != 0 {
			t.Errorf("%v after a read that blocked", d)
		}
		if d := i.pause(time.Second, 200*time.Millisecond); d > 0 {
			t.Errorf("%v after a read that blocked for long enough", d)
		}
	}
}
