package redisio

import (
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// What was nacked, and waits for its time, was pending in the group that was destroyed: it has to be in the new one.
func TestHealKeepsWhatWasNacked(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := add(t, rdb, key, 3)
	r, l := open(t, rdb, GroupConfig{Key: key})
	got := ids(read(t, r, 3))
	if _, err := r.Ack(ctx(t), got[:1]); err != nil {
		t.Fatal(err)
	}
	if err := r.Nack(ctx(t), got[1:], 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	rdb.XGroupDestroy(ctx(t), key, "g")
	again := ids(read(t, r, 2))
	if !slices.Equal(again, want[1:]) || l.times(EventGroupRecreated) != 1 {
		t.Fatalf("got %v, want %v; events %+v", again, want[1:], l.events)
	}
	if n, err := r.Ack(ctx(t), again); n != 2 || err != nil {
		t.Fatalf("acked %d, %v, want 2", n, err)
	}
}

// A reader without credits does not read, so settling has to make a lost group again: nobody else would.
func TestSettlingHealsWhenNobodyReads(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for name, settle := range map[string]func(r *GroupReader, key string, ids []string) error{
		"nack": func(r *GroupReader, _ string, ids []string) error { return r.Nack(ctx(t), ids, 0) },
		"dead": func(r *GroupReader, key string, ids []string) error {
			return r.Dead(ctx(t), key+":dead", []DeadLetter{{ID: ids[0], Extra: Fields{{"why", []byte("x")}}}, {ID: ids[1]}})
		},
		"release": func(r *GroupReader, _ string, ids []string) error { return r.Release(ctx(t), ids) },
	} {
		for how, lose := range map[string]func(key string) error{
			"group destroyed": func(key string) error { return rdb.XGroupDestroy(ctx(t), key, "g").Err() },
			"stream deleted":  func(key string) error { return rdb.Del(ctx(t), key).Err() },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				key := redistest.Key(t)
				add(t, rdb, key, 2)
				r, _ := open(t, rdb, GroupConfig{Key: key})
				got := ids(read(t, r, 2))
				if err := lose(key); err != nil {
					t.Fatal(err)
				}
				if err := settle(r, key, got); err != nil {
					t.Fatal(err)
				}
				if n := r.Held(); n != 0 {
					t.Fatalf("%d held still", n)
				}
				want := map[string]int{"nack": 2, "release": 2}[name]
				if how == "stream deleted" {
					want = 0
				}
				if n := len(pending(t, rdb, key)); n != want {
					t.Fatalf("%d pending, want %d", n, want)
				}
				if n := rdb.XLen(ctx(t), key+":dead").Val(); name == "dead" && how == "group destroyed" && n != 2 {
					t.Fatalf("%d dead letters, want 2", n)
				}
			})
		}
	}
}

// Lua hands over 8000 values at most: an entry with more fields stopped the graph, again and again.
func TestDeadOfEntryWithVeryManyFields(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	values := make([]string, 20_000)
	for i := range values {
		values[i] = "f"
	}
	id := rdb.XAdd(ctx(t), &redis.XAddArgs{Stream: key, Values: values}).Val()
	r, _ := open(t, rdb, GroupConfig{Key: key})
	read(t, r, 1)
	for range 2 { // repeated, as after a lost reply: no second copy
		if err := r.Dead(ctx(t), key+":dead", []DeadLetter{{ID: id, Extra: Fields{{"why", []byte("x")}}}}); err != nil {
			t.Fatal(err)
		}
	}
	copies := rangeAll(t, rdb, key+":dead")
	if len(copies) != 1 || len(copies[0].Fields) != 10_001 || copies[0].Fields[10_000].Name != "why" ||
		len(pending(t, rdb, key)) != 0 {
		t.Fatalf("%d copies, %d pending, want one copy with all fields", len(copies), len(pending(t, rdb, key)))
	}
}

// What a full server refuses is tried again, of entries with very many fields too: their
// transaction is discarded, and only the command that was refused says why.
func TestDeadOfLargeEntryOnFullServer(t *testing.T) {
	rdb, key := redistest.Start(t).Client(t), redistest.Key(t)
	values := make([]string, 20_000)
	for i := range values {
		values[i] = "f"
	}
	id := rdb.XAdd(ctx(t), &redis.XAddArgs{Stream: key, Values: values}).Val()
	r, _ := open(t, rdb, GroupConfig{Key: key})
	read(t, r, 1)
	letters := []DeadLetter{{ID: id, Extra: Fields{{"why", []byte("x")}}}}
	rdb.ConfigSet(ctx(t), "maxmemory", "1")
	if err := r.Dead(ctx(t), key+":dead", letters); err == nil || IsPermanent(err) || !isFull(err) {
		t.Errorf("full: %v", err)
	}
	if len(pending(t, rdb, key)) != 1 {
		t.Error("settled without a letter")
	}
	rdb.ConfigSet(ctx(t), "maxmemory", "0")
	if err := r.Dead(ctx(t), key+":dead", letters); err != nil || rdb.XLen(ctx(t), key+":dead").Val() != 1 {
		t.Errorf("not full any more: %v", err)
	}
}

// The longest delay there is must not overflow into none.
func TestNackForEver(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	r, _ := open(t, rdb, GroupConfig{Key: key, Lease: time.Minute})
	want := add(t, rdb, key, 1)
	read(t, r, 1)
	if err := r.Nack(ctx(t), want, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	if p := pending(t, rdb, key)[want[0]]; p.Idle > time.Minute/2 {
		t.Errorf("idle for %v: anybody may have it", p.Idle)
	}
	if in, ok := r.held.nextDue(time.Now()); !ok || in < 90*365*24*time.Hour {
		t.Errorf("due in %v", in)
	}
}

func rangeAll(t *testing.T, rdb redis.UniversalClient, key string) []Entry {
	t.Helper()
	r, err := NewRangeReader(rdb, RangeConfig{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(ctx(t)); err != nil {
		t.Fatal(err)
	}
	var all []Entry
	for {
		var b Batch
		if err := r.Read(ctx(t), 1000, 0, &b); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, b.Entries...)
	}
}

// What a broken fetch has already handed out must not be handed out once more.
func TestTakeThatBreaksHandsOutNothingTwice(t *testing.T) {
	s, key := redistest.Shared(t), redistest.Key(t)
	p := newProxy(t, s.Addr())
	rdb := p.client(t)
	add(t, rdb, key, 700) // two fetches: of 500 and of 200
	r, _ := open(t, rdb, GroupConfig{Key: key})
	got := ids(read(t, r, 700))
	if err := r.Nack(ctx(t), got, 0); err != nil {
		t.Fatal(err)
	}
	p.loseReplies("\r\n"+got[600]+"\r\n", 1)
	seen := make(map[string]int)
	for len(seen) < 700 {
		var b Batch
		if err := r.Read(ctx(t), 700, 0, &b); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids(b.Entries) {
			if seen[id]++; seen[id] > 1 {
				t.Fatalf("%s came twice while it was held", id)
			}
		}
	}
	if p.lost() != 1 || r.Held() != 700 || r.Parked() != 0 {
		t.Fatalf("lost %d replies, held %d, parked %d; want 1, 700, 0", p.lost(), r.Held(), r.Parked())
	}
}

// An entry that fails for ever, and at once, does not keep new ones from being read.
func TestFailingEntryDoesNotStarveNewOnes(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	poison := add(t, rdb, key, 1)[0]
	r, _ := open(t, rdb, GroupConfig{Key: key})
	if err := r.Nack(ctx(t), ids(read(t, r, 1)), 0); err != nil {
		t.Fatal(err)
	}
	fresh := add(t, rdb, key, 1)[0]
	for range 5 {
		got := read(t, r, 1)[0].ID
		if got == fresh {
			return
		}
		if got != poison {
			t.Fatalf("got %s", got)
		}
		if err := r.Nack(ctx(t), []string{got}, 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the new entry never came")
}
