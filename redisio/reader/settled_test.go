package reader

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Readers of several groups read and settle at random. Entries that a group needs stay, and of the
// others at most one per reader. The server still knows the lag.
func TestFault_S1_SettledEntriesAreDeleted(t *testing.T) {
	for groups := 1; groups <= 3; groups++ {
		t.Run(fmt.Sprint(groups), func(t *testing.T) {
			rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
			rng := rand.New(rand.NewPCG(1, uint64(groups)))
			readers, held := make([]*Group, groups), make([][]string, groups)
			unread := make([][]string, groups)
			for i := range readers {
				readers[i], _ = open(
					t,
					rdb,
					GroupConfig{Key: key, Group: fmt.Sprint("g", i), Tuning: Tuning{DeleteSettled: true}},
				)
			}
			for range 150 {
				at := rng.IntN(groups)
				r := readers[at]
				switch n := 1 + rng.IntN(8); rng.IntN(3) {
				case 0:
					for _, id := range rig.Add(t, rdb, key, n) {
						for i := range unread {
							unread[i] = append(unread[i], id)
						}
					}
				case 1:
					if n = min(n, len(unread[at])); n > 0 {
						held[at] = append(held[at], rig.IDs(rig.Read(t, r, n))...)
						unread[at] = unread[at][n:]
					}
				default:
					rng.Shuffle(len(held[at]), func(i, j int) { held[at][i], held[at][j] = held[at][j], held[at][i] })
					n = min(n, len(held[at]))
					if n == 0 {
						continue
					}
					if acked, err := r.Ack(rig.Ctx(t), held[at][:n]); acked != n || err != nil {
						t.Fatalf("ack: %d of %d, %v", acked, n, err)
					}
					held[at] = held[at][n:]
					checkSettled(t, rdb, key, slices.Concat(slices.Concat(held...), slices.Concat(unread...)), groups)
				}
				for i, g := range rdb.XInfoGroups(rig.Ctx(t), key).Val() {
					if g.Lag != int64(len(unread[i])) {
						t.Fatalf("the lag of %s is %d, want %d", g.Name, g.Lag, len(unread[i]))
					}
				}
			}
		})
	}
}

// checkSettled checks that all needed entries exist, and that there are not too many others.
func checkSettled(t *testing.T, rdb *redis.Client, key string, needed []string, most int) {
	t.Helper()
	slices.Sort(needed)
	needed = slices.Compact(needed)
	more := 0
	have := make(map[string]bool)
	for _, m := range rdb.XRange(rig.Ctx(t), key, "-", "+").Val() {
		have[m.ID] = true
		if !slices.Contains(needed, m.ID) {
			more++
		}
	}
	for _, id := range needed {
		if !have[id] {
			t.Fatalf("%s is needed, and gone", id)
		}
	}
	if more > most {
		t.Fatalf("%d entries are there that no group needs", more)
	}
}

// A slow entry does not keep the entries after it. Dead-lettered entries are deleted too, and so
// are entries that only a destroyed group needed.
func TestFault_S1_NothingIsHeldUp(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	large := strings.Repeat("x", 100_000)
	write := func(n int) {
		for range n {
			rdb.XAdd(rig.Ctx(t), redistest.Entry(key, "data", large))
		}
	}
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{DeleteSettled: true}})
	write(20)
	got := rig.IDs(rig.Read(t, r, 20))
	if _, err := r.Ack(rig.Ctx(t), got[1:]); err != nil {
		t.Fatal(err)
	}
	if n := rdb.MemoryUsage(rig.Ctx(t), key).Val(); n > 250_000 {
		t.Errorf("%d bytes stay behind one entry that is slow", n)
	}
	if err := r.Dead(rig.Ctx(t), key+":dead", []DeadLetter{{ID: got[0]}}); err != nil {
		t.Fatal(err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 0 {
		t.Errorf("%d entries stay behind a dead letter", n)
	}
	rdb.XGroupCreate(rig.Ctx(t), key, "other", "0")
	write(5)
	if _, err := r.Ack(rig.Ctx(t), rig.IDs(rig.Read(t, r, 4))); err != nil {
		t.Fatal(err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 5 {
		t.Errorf("%d entries are there for another group, want 5", n)
	}
	rdb.XGroupDestroy(rig.Ctx(t), key, "other")
	if _, err := r.Ack(rig.Ctx(t), rig.IDs(rig.Read(t, r, 1))); err != nil {
		t.Fatal(err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 0 {
		t.Errorf("%d entries are left by a group that is gone", n)
	}
}

// An ack deletes nothing if another reader has taken the entry, or if the group was deleted.
func TestFault_S1_WhatIsNotOursStays(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{DeleteSettled: true, Lease: time.Minute}})
	rig.Add(t, rdb, key, 2)
	got := rig.IDs(rig.Read(t, r, 2))
	rdb.XClaim(rig.Ctx(t), &redis.XClaimArgs{Stream: key, Group: "g", Consumer: "other", Messages: got[:1]})
	if _, late, err := r.settleAndDelete(rig.Ctx(t), got, true); late != 1 || err != nil {
		t.Errorf("%d are another's, %v; want 1", late, err)
	}
	if have := rdb.XRange(rig.Ctx(t), key, "-", "+").Val(); len(have) == 0 || have[0].ID != got[0] {
		t.Errorf("the stream has %v, want %s that another has", have, got[0])
	}
	rdb.XGroupDestroy(rig.Ctx(t), key, "g")
	rdb.XGroupCreate(rig.Ctx(t), key, "other", "$")
	length := rdb.XLen(rig.Ctx(t), key).Val()
	if _, err := r.Ack(rig.Ctx(t), got); err != nil {
		t.Fatal(err)
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != length {
		t.Errorf("%d of %d entries are left though the group is to be made again", n, length)
	}
}
