package reader

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A delayed entry was pending in the destroyed group: it must be pending in the new one.
func TestHealKeepsWhatWasNacked(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := rig.Add(t, rdb, key, 3)
	r, l := open(t, rdb, GroupConfig{Key: key})
	got := rig.IDs(rig.Read(t, r, 3))
	if _, err := r.Ack(rig.Ctx(t), got[:1]); err != nil {
		t.Fatal(err)
	}
	if err := r.Nack(rig.Ctx(t), got[1:], 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	rdb.XGroupDestroy(rig.Ctx(t), key, "g")
	again := rig.IDs(rig.Read(t, r, 2))
	if !slices.Equal(again, want[1:]) || l.Times(redisio.EventGroupRecreated) != 1 {
		t.Fatalf("got %v, want %v; events %+v", again, want[1:], l.Events)
	}
	if n, err := r.Ack(rig.Ctx(t), again); n != 2 || err != nil {
		t.Fatalf("acked %d, %v, want 2", n, err)
	}
}

// A reader without credits does not read, so settling must recreate a lost group.
func TestSettlingHealsWhenNobodyReads(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for name, settle := range map[string]func(r *Group, key string, ids []string) error{
		"nack": func(r *Group, _ string, ids []string) error { return r.Nack(rig.Ctx(t), ids, 0) },
		"dead": func(r *Group, key string, ids []string) error {
			return r.Dead(rig.Ctx(t), key+":dead", []DeadLetter{{ID: ids[0], Extra: redisio.Fields{{Name: "why", Value: []byte("x")}}}, {ID: ids[1]}})
		},
		"release": func(r *Group, _ string, ids []string) error { return r.Release(rig.Ctx(t), ids) },
	} {
		for how, lose := range map[string]func(key string) error{
			"group destroyed": func(key string) error { return rdb.XGroupDestroy(rig.Ctx(t), key, "g").Err() },
			"stream deleted":  func(key string) error { return rdb.Del(rig.Ctx(t), key).Err() },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				key := redistest.Key(t)
				rig.Add(t, rdb, key, 2)
				r, _ := open(t, rdb, GroupConfig{Key: key})
				got := rig.IDs(rig.Read(t, r, 2))
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
				if n := len(rig.Pending(t, rdb, key)); n != want {
					t.Fatalf("%d pending, want %d", n, want)
				}
				if n := rdb.XLen(rig.Ctx(t), key+":dead").Val(); name == "dead" && how == "group destroyed" && n != 2 {
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
	id := rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, Values: values}).Val()
	r, _ := open(t, rdb, GroupConfig{Key: key})
	rig.Read(t, r, 1)
	for range 2 { // repeated, as after a lost reply: no second copy
		if err := r.Dead(rig.Ctx(t), key+":dead", []DeadLetter{{ID: id, Extra: redisio.Fields{{Name: "why", Value: []byte("x")}}}}); err != nil {
			t.Fatal(err)
		}
	}
	copies := rangeAll(t, rdb, key+":dead")
	if len(copies) != 1 || len(copies[0].Fields) != 10_001 || copies[0].Fields[10_000].Name != "why" ||
		len(rig.Pending(t, rdb, key)) != 0 {
		t.Fatalf("%d copies, %d pending, want one copy with all fields", len(copies), len(rig.Pending(t, rdb, key)))
	}
}

// A refusal of a full server is retried, also for entries with very many fields. Their transaction
// is discarded, and only the refused command has the reason.
func TestDeadOfLargeEntryOnFullServer(t *testing.T) {
	rdb, key := redistest.Start(t).Client(t), redistest.Key(t)
	values := make([]string, 20_000)
	for i := range values {
		values[i] = "f"
	}
	id := rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, Values: values}).Val()
	r, _ := open(t, rdb, GroupConfig{Key: key})
	rig.Read(t, r, 1)
	letters := []DeadLetter{{ID: id, Extra: redisio.Fields{{Name: "why", Value: []byte("x")}}}}
	rdb.ConfigSet(rig.Ctx(t), "maxmemory", "1")
	if err := r.Dead(rig.Ctx(t), key+":dead", letters); err == nil || redisio.IsPermanent(err) || !fault.IsFull(err) {
		t.Errorf("full: %v", err)
	}
	if len(rig.Pending(t, rdb, key)) != 1 {
		t.Error("settled without a letter")
	}
	rdb.ConfigSet(rig.Ctx(t), "maxmemory", "0")
	if err := r.Dead(rig.Ctx(t), key+":dead", letters); err != nil || rdb.XLen(rig.Ctx(t), key+":dead").Val() != 1 {
		t.Errorf("not full any more: %v", err)
	}
}

// The longest delay there is must not overflow into none.
func TestNackForEver(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute}})
	want := rig.Add(t, rdb, key, 1)
	rig.Read(t, r, 1)
	if err := r.Nack(rig.Ctx(t), want, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	if p := rig.Pending(t, rdb, key)[want[0]]; p.Idle > time.Minute/2 {
		t.Errorf("idle for %v: anybody may have it", p.Idle)
	}
	if in, ok := r.held.NextDue(time.Now()); !ok || in < 90*365*24*time.Hour {
		t.Errorf("due in %v", in)
	}
}

func rangeAll(t *testing.T, rdb redis.UniversalClient, key string) []redisio.Entry {
	t.Helper()
	r, err := NewRange(rdb, RangeConfig{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	return rig.ReadAll(t, r)
}

// Entries that a broken fetch has returned must not be returned again.
func TestTakeThatBreaksHandsOutNothingTwice(t *testing.T) {
	s, key := redistest.Shared(t), redistest.Key(t)
	p := rig.NewProxy(t, s.Addr())
	rdb := p.Client(t)
	rig.Add(t, rdb, key, 700) // two fetches: of 500 and of 200
	r, _ := open(t, rdb, GroupConfig{Key: key})
	got := rig.IDs(rig.Read(t, r, 700))
	if err := r.Nack(rig.Ctx(t), got, 0); err != nil {
		t.Fatal(err)
	}
	p.LoseReplies("\r\n"+got[600]+"\r\n", 1)
	seen := make(map[string]int)
	for len(seen) < 700 {
		var b redisio.Batch
		if err := r.Read(rig.Ctx(t), 700, 0, &b); err != nil {
			t.Fatal(err)
		}
		for _, id := range rig.IDs(b.Entries) {
			if seen[id]++; seen[id] > 1 {
				t.Fatalf("%s came twice while it was held", id)
			}
		}
	}
	if p.Lost() != 1 || r.Held() != 700 || r.Parked() != 0 {
		t.Fatalf("lost %d replies, held %d, parked %d; want 1, 700, 0", p.Lost(), r.Held(), r.Parked())
	}
}

// An entry that always fails at once does not delay new ones.
func TestFailingEntryDoesNotStarveNewOnes(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	poison := rig.Add(t, rdb, key, 1)[0]
	r, _ := open(t, rdb, GroupConfig{Key: key})
	if err := r.Nack(rig.Ctx(t), rig.IDs(rig.Read(t, r, 1)), 0); err != nil {
		t.Fatal(err)
	}
	fresh := rig.Add(t, rdb, key, 1)[0]
	for range 5 {
		got := rig.Read(t, r, 1)[0].ID
		if got == fresh {
			return
		}
		if got != poison {
			t.Fatalf("got %s", got)
		}
		if err := r.Nack(rig.Ctx(t), []string{got}, 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the new entry never came")
}

// Acks go in commands of a thousand, in one pipeline, and allocate nothing per entry.
func TestAcksArePipelined(t *testing.T) {
	rdb, key := redistest.Start(t).Client(t), redistest.Key(t)
	const n = 2500
	rig.Add(t, rdb, key, n)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{MaxCount: n}})
	got := rig.IDs(rig.Read(t, r, n))
	if err := rdb.ConfigResetStat(rig.Ctx(t)).Err(); err != nil {
		t.Fatal(err)
	}
	if acked, err := r.Ack(rig.Ctx(t), got); acked != n || err != nil || r.Held() != 0 {
		t.Fatalf("acked %d, held %d, %v", acked, r.Held(), err)
	}
	if stats := rdb.Info(rig.Ctx(t), "commandstats").Val(); !strings.Contains(stats, "cmdstat_xack:calls=3,") {
		t.Errorf("2500 acks took other commands than 3:\n%s", stats)
	}
	allocs := testing.AllocsPerRun(10, func() {
		if _, err := r.Ack(rig.Ctx(t), got); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 50 {
		t.Errorf("%d acks allocate %v times", n, allocs)
	}
}

// If the connection for acks breaks, go-redis acks what is left.
func TestAckSurvivesCut(t *testing.T) {
	p := rig.NewProxy(t, redistest.Shared(t).Addr())
	rdb, key := p.Client(t), redistest.Key(t)
	ways := []redistest.Cut{redistest.CutRequest, redistest.CutHalfRequest, redistest.CutReply, redistest.CutHalfReply}
	rig.Add(t, rdb, key, len(ways))
	r, _ := open(t, rdb, GroupConfig{Key: key})
	for i, id := range rig.IDs(rig.Read(t, r, len(ways))) {
		p.Cut(ways[i], "xack", 1)
		if _, err := r.Ack(rig.Ctx(t), []string{id}); err != nil {
			t.Errorf("%v: %v", ways[i], err)
		}
	}
	if n := len(rig.Pending(t, rdb, key)); n != 0 || p.Lost() != len(ways) || r.Held() != 0 {
		t.Fatalf("%d pending, %d held, %d cuts", n, r.Held(), p.Lost())
	}
}
