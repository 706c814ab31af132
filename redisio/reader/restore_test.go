package reader

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// wipes are ways in which other clients drop our pending entries without our knowledge.
var wipes = map[string]func(t testing.TB, rdb redis.UniversalClient, key, consumer string){
	"group destroyed and made again by a peer": func(t testing.TB, rdb redis.UniversalClient, key, _ string) {
		last := rdb.XInfoStream(rig.Ctx(t), key).Val().LastGeneratedID
		if err := rdb.XGroupDestroy(rig.Ctx(t), key, "g").Err(); err != nil {
			t.Fatal(err)
		}
		if err := rdb.XGroupCreate(rig.Ctx(t), key, "g", last).Err(); err != nil {
			t.Fatal(err)
		}
	},
	"consumer deleted": func(t testing.TB, rdb redis.UniversalClient, key, consumer string) {
		if err := rdb.XGroupDelConsumer(rig.Ctx(t), key, "g", consumer).Err(); err != nil {
			t.Fatal(err)
		}
	},
}

// renew renews the leases, as the reader does every third of a lease. The leases of these tests are
// long, because a busy machine may stop for longer than a short one.
func renew(t *testing.T, r *Group) {
	t.Helper()
	if err := r.renew(rig.Ctx(t), time.Now().Add(r.cfg.Lease)); err != nil {
		t.Fatal(err)
	}
}

// lapse makes the leases of entries lapse, as if the process had stopped for long.
func lapse(t *testing.T, r *Group, ids []string) {
	t.Helper()
	r.held.Lapse(ids, make([]int64, len(ids)), r.cfg.Lease)
	if n := len(r.held.LapsedOf(ids, time.Now(), r.cfg.Lease)); n != len(ids) {
		t.Fatalf("%d of %d leases have lapsed", n, len(ids))
	}
}

// The lists that XGROUP DESTROY and DELCONSUMER drop are restored, with their delivery counts,
// whatever the next operation is.
func TestRestore(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	for name, wipe := range wipes {
		for what, act := range map[string]func(t *testing.T, r *Group, ids []string){
			"nack": func(t *testing.T, r *Group, ids []string) {
				if err := r.Nack(rig.Ctx(t), ids, 50*time.Millisecond); err != nil {
					t.Fatal(err)
				}
			},
			"release": func(t *testing.T, r *Group, ids []string) {
				if err := r.Release(rig.Ctx(t), ids); err != nil {
					t.Fatal(err)
				}
			},
			"renewal": func(t *testing.T, r *Group, ids []string) {
				renew(t, r)
				if n := len(rig.Pending(t, rdb, r.cfg.Key)); n != len(ids) {
					t.Errorf("the renewal restored %d", n)
				}
				if err := r.Nack(rig.Ctx(t), ids, 0); err != nil {
					t.Fatal(err)
				}
			},
			"close": func(t *testing.T, r *Group, _ []string) {
				if err := r.Close(rig.Ctx(t)); err != nil {
					t.Fatal(err)
				}
			},
		} {
			test := func(t *testing.T, lapsed bool) {
				key := redistest.Key(t)
				rig.Add(t, rdb, key, 5)
				r, l := open(
					t,
					rdb,
					GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute, ReclaimEvery: time.Hour},
						OnLost: func(ids []string) { t.Errorf("lost %v", ids) }},
				)
				rig.Read(t, r, 5)
				if err := r.Nack(rig.Ctx(t), r.held.All(), 0); err != nil { // the second delivery counts 2
					t.Fatal(err)
				}
				got := rig.IDs(rig.Read(t, r, 5))
				wipe(t, rdb, key, r.Consumer())
				if lapsed { // and another reader could have settled them
					lapse(t, r, got)
					rdb.XGroupCreateConsumer(rig.Ctx(t), key, "g", "peer")
				}
				act(t, r, got)
				if n := l.Total(redisio.EventRestored); n != 5 {
					t.Errorf("%d are told to be restored", n)
				}
				other, _ := open(
					t,
					rdb,
					GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute, ReclaimEvery: 20 * time.Millisecond}},
				)
				again := rig.Read(t, other, 5)
				for _, e := range again {
					if e.Deliveries != 3 {
						t.Errorf("%s: %d deliveries, want 3", e.ID, e.Deliveries)
					}
				}
				if n, err := other.Ack(rig.Ctx(t), got); n != 5 || err != nil {
					t.Fatalf("acked %d, %v", n, err)
				}
			}
			t.Run(name+"/"+what, func(t *testing.T) { test(t, false) })
			t.Run(name+"/"+what+", late by a lease", func(t *testing.T) { test(t, true) })
		}
	}
}

// A blocked read makes a deleted consumer again, so nobody sees that it was missing. Without another
// reader, entries with a lapsed lease are restored still, and also if only some leases have lapsed.
func TestRestoreLapsed(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for name, lapsed := range map[string]int{"alone": 4, "with a witness": 3} {
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			rig.Add(t, rdb, key, 4)
			r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute},
				OnLost: func(ids []string) { t.Errorf("lost %v", ids) }})
			got := rig.IDs(rig.Read(t, r, 4))
			wipes["consumer deleted"](t, rdb, key, r.Consumer())
			rdb.XGroupCreateConsumer(rig.Ctx(t), key, "g", r.Consumer())
			if lapse(t, r, got[:lapsed]); lapsed < 4 {
				rdb.XGroupCreateConsumer(rig.Ctx(t), key, "g", "peer")
			}
			renew(t, r)
			if n := len(rig.Pending(t, rdb, key)); n != 4 || l.Total(redisio.EventRestored) != 4 {
				t.Fatalf("%d pending, %d told to be restored", n, l.Total(redisio.EventRestored))
			}
		})
	}
}

// Nacked entries are restored as well: by the check before they are due, then by taking them.
func TestRestoreNacked(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	for name, wipe := range wipes {
		for _, delay := range []time.Duration{200 * time.Millisecond, 2 * time.Minute} {
			t.Run(fmt.Sprint(name, "/", delay), func(t *testing.T) {
				key := redistest.Key(t)
				// the fourth is held, in case the nacked ones are taken too late to reveal the loss
				want := rig.Add(t, rdb, key, 4)[:3]
				r, _ := open(
					t,
					rdb,
					GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute, Block: 20 * time.Millisecond}},
				)
				rig.Read(t, r, 4)
				if err := r.Nack(rig.Ctx(t), want, delay); err != nil {
					t.Fatal(err)
				}
				wipe(t, rdb, key, r.Consumer())
				if delay > r.cfg.Lease {
					renew(t, r)
					if p := rig.Pending(t, rdb, key); p[want[2]].RetryCount != 1 {
						t.Fatalf("pending %+v", p)
					}
					if err := r.Nack(rig.Ctx(t), want, 0); err != nil { // due now
						t.Fatal(err)
					}
				}
				again := rig.Read(t, r, 3) // in any order: on a busy machine they may be restored one by one
				got := rig.IDs(again)
				if slices.Sort(got); !slices.Equal(got, want) || again[0].Deliveries != 2 {
					t.Fatalf("got %+v", again)
				}
			})
		}
	}
	t.Run("overdue, with a witness", func(t *testing.T) {
		key := redistest.Key(t)
		want := rig.Add(t, rdb, key, 2)
		r, _ := open(
			t,
			rdb,
			GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute, Block: 20 * time.Millisecond}},
		)
		rig.Read(t, r, 2)
		if err := r.Nack(rig.Ctx(t), want[:1], 0); err != nil {
			t.Fatal(err)
		}
		wipes["consumer deleted"](t, rdb, key, r.Consumer())
		if again := rig.Read(t, r, 1); again[0].ID != want[0] {
			t.Fatalf("got %v", again)
		}
	})
	t.Run("taken and finished by another is not", func(t *testing.T) {
		key := redistest.Key(t)
		want := rig.Add(t, rdb, key, 2)
		r, l := open(
			t,
			rdb,
			GroupConfig{Key: key, Tuning: Tuning{Lease: 600 * time.Millisecond, Block: 20 * time.Millisecond}},
		)
		rig.Read(t, r, 2)
		if err := r.Nack(rig.Ctx(t), want[:1], 0); err != nil {
			t.Fatal(err)
		}
		rdb.XAck(rig.Ctx(t), key, "g", want[0]) // another's
		readNothing(t, r, 900*time.Millisecond)
		redistest.Soon(t, "it is forgotten", func() bool {
			readNothing(t, r, 20*time.Millisecond)
			return r.Parked() == 0
		})
		if n := l.Total(redisio.EventRestored); n != 0 {
			t.Fatalf("restored %d", n)
		}
	})
}

// A lapsed lease proves nothing: another reader has taken over a missing entry and settled it.
func TestLapsedIsLost(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	got := rig.Add(t, rdb, key, 3)
	lost := make(chan []string, 10)
	r, l := open(
		t,
		rdb,
		GroupConfig{
			Key:    key,
			Tuning: Tuning{Lease: time.Minute},
			OnLost: func(ids []string) { lost <- ids },
		},
	)
	rig.Read(t, r, 3)
	lapse(t, r, got[:2])
	rdb.XGroupCreateConsumer(rig.Ctx(t), key, "g", "peer")
	rdb.XAck(rig.Ctx(t), key, "g", got[0])
	renew(t, r)
	select {
	case ids := <-lost:
		if !slices.Equal(ids, got[:1]) {
			t.Fatalf("lost %v", ids)
		}
	case <-rig.Ctx(t).Done():
		t.Fatal("not reported")
	}
	if l.Total(redisio.EventRestored) != 0 || r.Held() != 2 {
		t.Fatalf("restored %d, held %d", l.Total(redisio.EventRestored), r.Held())
	}
}

// An entry that was trimmed while it is handled is not lost to another consumer.
func TestTrimmedIsNotLost(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	got := rig.Add(t, rdb, key, 3)
	r, l := open(
		t,
		rdb,
		GroupConfig{
			Key:    key,
			Tuning: Tuning{Lease: time.Minute},
			OnLost: func(ids []string) { t.Errorf("lost %v", ids) },
		},
	)
	rig.Read(t, r, 3)
	rdb.XDel(rig.Ctx(t), key, got[1])
	for n := range time.Duration(4) { // the first notices it
		if err := r.renew(rig.Ctx(t), time.Now().Add((n+1)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if r.Held() != 3 || l.Total(redisio.EventTrimmed) != 1 {
		t.Fatalf("held %d, trimmed %d", r.Held(), l.Total(redisio.EventTrimmed))
	}
	if err := r.Dead(rig.Ctx(t), key+".dead", []DeadLetter{{ID: got[1], Extra: redisio.Fields{{Name: "dead:id", Value: []byte(got[1])}}}}); err != nil {
		t.Fatal(err)
	}
	if n := rdb.XLen(rig.Ctx(t), key+".dead").Val(); n != 1 || r.Held() != 2 {
		t.Fatalf("%d dead letters, held %d", n, r.Held())
	}
}

// XGROUP SETID to an earlier position redelivers entries that we hold: Read does not return them
// twice, and they are not lost.
func TestSetID(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := rig.Add(t, rdb, key, 5)
	r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute}}) // no renewal comes in between
	rig.Read(t, r, 3)
	set := func(id string) {
		t.Helper()
		if err := rdb.XGroupSetID(rig.Ctx(t), key, "g", id).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("0")
	if got := rig.IDs(rig.Read(t, r, 2)); !slices.Equal(got, want[3:]) {
		t.Fatalf("got %v, want %v", got, want[3:])
	}
	wipes["consumer deleted"](t, rdb, key, r.Consumer())
	set("0") // now the group is behind what we have in hand: it will deliver that anyway
	if err := r.Nack(rig.Ctx(t), want[:1], time.Minute); err != nil {
		t.Fatal(err)
	}
	set(want[4]) // and now it will not
	if err := r.Nack(rig.Ctx(t), want[1:], 0); err != nil {
		t.Fatal(err)
	}
	if got := rig.IDs(rig.Read(t, r, 4)); !slices.Equal(got, want[1:]) || l.Total(redisio.EventRestored) != 4 {
		t.Fatalf("got %v, want %v; restored %d", got, want[1:], l.Total(redisio.EventRestored))
	}
}

func TestDeadAfterWipe(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for name, wipe := range wipes {
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			rig.Add(t, rdb, key, 3)
			r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute}})
			got := rig.IDs(rig.Read(t, r, 3))
			wipe(t, rdb, key, r.Consumer())
			letter := func(id string) DeadLetter {
				return DeadLetter{
					ID: id,
					Extra: redisio.Fields{
						{Name: "dead:id", Value: []byte(id)},
						{Name: "dead:group", Value: []byte("g")},
					},
				}
			}
			if err := r.Dead(rig.Ctx(t), key+".dead", []DeadLetter{letter(got[0]), letter(got[1])}); err != nil {
				t.Fatal(err)
			}
			// The reply of a successful call was lost: the entries are held, and pending for no
			// consumer.
			r.held.Add([]redisio.Entry{{ID: got[0], Position: must(t, got[0])}}, time.Now())
			if err := r.Dead(rig.Ctx(t), key+".dead", []DeadLetter{letter(got[0])}); err != nil {
				t.Fatal(err)
			}
			if n := rdb.XLen(rig.Ctx(t), key+".dead").Val(); n != 2 || l.Total(redisio.EventStaleAcks) != 1 {
				t.Fatalf("%d dead letters, want 2; stale %d, want 1", n, l.Total(redisio.EventStaleAcks))
			}
			lapse(t, r, got[2:])
			if err := r.Dead(rig.Ctx(t), key+".dead", []DeadLetter{letter(got[2])}); err != nil {
				t.Fatal(err)
			}
			if n := rdb.XLen(rig.Ctx(t), key+".dead").Val(); n != 3 || r.Held() != 0 {
				t.Fatalf("%d dead letters, want 3; %d held", n, r.Held())
			}
		})
	}
	t.Run("somebody else's is left to him", func(t *testing.T) {
		key := redistest.Key(t)
		got := rig.Add(t, rdb, key, 1)
		r, l := open(t, rdb, GroupConfig{Key: key})
		rig.Read(t, r, 1)
		rdb.XClaimJustID(rig.Ctx(t), &redis.XClaimArgs{Stream: key, Group: "g", Consumer: "thief", Messages: got})
		if err := r.Dead(rig.Ctx(t), key+".dead", []DeadLetter{{ID: got[0]}}); err != nil {
			t.Fatal(err)
		}
		if rdb.Exists(rig.Ctx(t), key+".dead").Val() != 0 || l.Total(redisio.EventLateAcks) != 1 ||
			len(rig.Pending(t, rdb, key)) != 1 ||
			r.Held() != 0 {
			t.Fatalf("late %d, held %d, pending %v", l.Total(redisio.EventLateAcks), r.Held(), rig.Pending(t, rdb, key))
		}
	})
}

func must(t testing.TB, id string) redisio.ID {
	t.Helper()
	at, err := redisio.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Two readers nack, release and ack at random, while the test destroys the group and deletes
// consumers. In the end every entry is acked.
func TestNothingLostUnderWipes(t *testing.T) {
	t.Parallel()
	lost, late := lostUnderWipes(t, 900*time.Millisecond, redistest.Patience/2)
	if late && len(lost) > 0 { // a lease lapsed on a busy machine, and a lapsed one proves nothing
		t.Logf("%d of a lapsed lease", len(lost))
		lost, _ = lostUnderWipes(t, 12*time.Second, redistest.Patience)
	}
	for _, id := range lost {
		t.Errorf("%s was never acked", id)
	}
}

// lostUnderWipes returns the entries that were never acked, and whether a lease was not renewed in time.
func lostUnderWipes(t *testing.T, lease, patience time.Duration) (lost []string, late bool) {
	t.Helper()
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	const n = 400
	all := rig.Add(t, rdb, key, n)
	c, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var mu sync.Mutex
	done := make(map[string]int, n)
	// A wipe does not come between a read that was cut off and the next one that returns entries.
	// If a reply is lost, only the pending list of the server knows its entries.
	var wipes sync.RWMutex
	var wg sync.WaitGroup
	var readers []*Group
	for i := range 2 {
		r, _ := open(
			t,
			rdb,
			GroupConfig{
				Key: key,
				Tuning: Tuning{
					Block:        20 * time.Millisecond,
					Lease:        lease,
					ReclaimEvery: 100 * time.Millisecond,
				},
			},
		)
		readers = append(readers, r)
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		wg.Go(func() {
			var held []string
			locked := false
			defer func() {
				if locked {
					wipes.RUnlock()
				}
			}()
			for c.Err() == nil {
				if !locked {
					wipes.RLock()
				}
				var b redisio.Batch
				moment, stop := context.WithTimeout(c, 50*time.Millisecond)
				err := r.Read(moment, 1+rng.IntN(10), 0, &b)
				stop() // also without new entries the held ones must be settled
				if locked = err != nil; !locked {
					wipes.RUnlock()
				}
				held = append(held, rig.IDs(b.Entries)...)
				rng.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
				k := rng.IntN(len(held) + 1)
				if len(held) > 40 {
					k = len(held)
				}
				some := held[:k]
				held = slices.Clone(held[k:])
				if len(some) == 0 {
					continue
				}
				switch rng.IntN(4) {
				case 0:
					err = r.Nack(c, some, time.Duration(rng.IntN(50))*time.Millisecond)
				case 1:
					err = r.Release(c, some)
				default:
					if _, err = r.Ack(c, some); err == nil {
						mu.Lock()
						for _, id := range some {
							done[id]++
						}
						if len(done) == n {
							cancel()
						}
						mu.Unlock()
					}
				}
				if err != nil { // the group is gone for a moment: again, with the rest
					held = append(held, some...)
				}
			}
		})
	}
	wg.Go(func() {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		rng := rand.New(rand.NewPCG(7, 7))
		for wiped := 0; wiped < 20; {
			select {
			case <-tick.C:
			case <-c.Done():
				return
			}
			if !wipes.TryLock() {
				continue
			}
			wiped++
			if r := readers[rng.IntN(2)]; rng.IntN(2) == 0 {
				rdb.XGroupDelConsumer(c, key, "g", r.Consumer())
			} else {
				rdb.XGroupDestroy(c, key, "g")
			}
			wipes.Unlock()
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); c.Err() == nil; last = time.Now() {
			<-tick.C
			late = late || time.Since(last) > lease/6
			for _, r := range readers { // a renewal is due after a third
				late = late || len(r.held.Stale(time.Now().Add(-lease*2/3))) > 0
			}
		}
	})
	wg.Wait()
	again := 0
	for _, id := range all {
		if done[id] == 0 {
			lost = append(lost, id)
		}
		again += max(0, done[id]-1)
	}
	t.Logf("%d duplicates", again)
	return lost, late
}

// OnEvent may settle entries, also while others are restored.
func TestOnEventMaySettle(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := rig.Add(t, rdb, key, 3)
	acked := make(chan error, 1)
	var r *Group
	r, err := NewGroup(rdb, GroupConfig{Key: key, Group: "g", Tuning: Tuning{Lease: time.Minute},
		OnEvent: func(e redisio.Event) {
			if e.Kind == redisio.EventRestored {
				c, cancel := context.WithTimeout(context.Background(), redistest.Patience)
				defer cancel()
				_, err := r.Ack(c, e.IDs)
				acked <- err
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	rig.Read(t, r, 3)
	rdb.XGroupDelConsumer(rig.Ctx(t), key, "g", r.Consumer())
	renew(t, r)
	if err := <-acked; err != nil {
		t.Error(err)
	}
	if left := rig.Pending(t, rdb, key); len(left) != 0 {
		t.Errorf("%d of %d pending", len(left), len(want))
	}
}

// A full server refuses to make a consumer. Delayed entries must not stop a reader from
// reading then, nor from renewing its leases: only readers can empty the server.
func TestFullServer(t *testing.T) {
	t.Parallel()
	rdb, key := redistest.Start(t).Client(t), redistest.Key(t)
	lease := time.Minute
	r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: lease}})
	want := rig.Add(t, rdb, key, 3)
	rig.Read(t, r, 2)
	if err := r.Nack(rig.Ctx(t), want[:1], 2*lease); err != nil {
		t.Fatal(err)
	}
	rdb.ConfigSet(rig.Ctx(t), "maxmemory", "1")
	if err := rdb.Set(rig.Ctx(t), "k", "v", 0).Err(); !fault.IsFull(err) {
		t.Fatal("the server is not full:", err)
	}
	if got := rig.IDs(rig.Read(t, r, 1)); got[0] != want[2] {
		t.Fatalf("read %v", got)
	}
	other, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: lease, ReclaimEvery: 20 * time.Millisecond}})
	for _, id := range want { // as if the last renewal was long ago
		setPending(t, rdb, key, r.Consumer(), id, time.Hour, 1)
	}
	renew(t, r)
	readNothing(t, other, 200*time.Millisecond)
	if n := l.Times(redisio.EventRenewFailed) + l.Times(redisio.EventReconnecting); n != 0 {
		t.Errorf("%d failures", n)
	}
	// The reader also detects that its consumer was deleted with all its entries.
	if err := r.Nack(rig.Ctx(t), []string{want[0], want[2]}, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	rdb.XGroupDelConsumer(rig.Ctx(t), key, "g", r.Consumer())
	got := rig.IDs(rig.Read(t, r, 2))
	slices.Sort(got)
	if !slices.Equal(got, []string{want[0], want[2]}) {
		t.Errorf("after the consumer was deleted: %v, want %v", got, []string{want[0], want[2]})
	}
}

// A key that temporarily holds another type proves nothing about our rights.
func TestWrongTypeDoesNotBlind(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: 300 * time.Millisecond}})
	want := rig.Add(t, rdb, key, 1)
	rig.Read(t, r, 1)
	if err := r.Release(rig.Ctx(t), want); err != nil {
		t.Fatal(err)
	}
	rdb.Rename(rig.Ctx(t), key, key+":aside")
	rdb.Set(rig.Ctx(t), key, "no stream", 0)
	var b redisio.Batch
	if err := r.Read(rig.Ctx(t), 1, 0, &b); !redisio.IsPermanent(err) {
		t.Fatal(err)
	}
	rdb.Rename(rig.Ctx(t), key+":aside", key)
	rdb.XGroupDelConsumer(rig.Ctx(t), key, "g", r.Consumer())
	if got := rig.IDs(rig.Read(t, r, 1)); got[0] != want[0] {
		t.Fatalf("read %v", got)
	}
}

// meanwhile calls do before the first script that sets the idle time of delayed entries.
type meanwhile struct {
	begun atomic.Bool
	do    func()
}

func (*meanwhile) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*meanwhile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (m *meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); len(args) > 1 && args[1] == script.ScriptPark && m.begun.CompareAndSwap(false, true) {
			m.do()
		}
		return next(ctx, cmd)
	}
}

// The check of a delayed entry is slow. Meanwhile the entry is due, delivered and acked, unless Read
// waits for the check: it must not be restored after the ack.
func TestSettledIsNotRestored(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for name, check := range map[string]func(r *Group) error{
		"renewal": func(r *Group) error { return r.renew(rig.Ctx(t), time.Now()) },
		"restore": func(r *Group) error { return r.restoreRest(rig.Ctx(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			key := key + name
			want := rig.Add(t, rdb, key, 1)
			r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute, ReclaimEvery: time.Hour}})
			rig.Read(t, r, 1)
			if err := r.Nack(rig.Ctx(t), want, 200*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			acked := 0
			r.control.AddHook(&meanwhile{do: func() {
				ctx, cancel := context.WithTimeout(rig.Ctx(t), 400*time.Millisecond)
				defer cancel()
				var b redisio.Batch
				_ = r.Read(ctx, 1, 0, &b)
				n, err := r.Ack(rig.Ctx(t), rig.IDs(b.Entries))
				if acked = n; err != nil {
					t.Error(err)
				}
			}})
			if err := check(r); err != nil {
				t.Fatal(err)
			}
			if acked == 0 {
				if n, err := r.Ack(rig.Ctx(t), rig.IDs(rig.Read(t, r, 1))); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			renew(t, r)
			if n := len(rig.Pending(t, rdb, key)); n != 0 || l.Total(redisio.EventRestored) != 0 {
				t.Errorf("%d pending, %d restored after the ack", n, l.Total(redisio.EventRestored))
			}
		})
	}
}
