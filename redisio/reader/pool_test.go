package reader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// kill ends a reader like kill -9 its process: it releases nothing, and its entries have been idle
// for long.
func kill(t *testing.T, rdb redis.UniversalClient, r *Group) {
	t.Helper()
	r.held.Init()
	for id, p := range rig.Pending(t, rdb, r.cfg.Key) {
		if p.Consumer == r.Consumer() {
			setPending(t, rdb, r.cfg.Key, "killed", id, time.Hour, int(p.RetryCount)) // not what Close gives back
		}
	}
	r.turn.end(&r.fetcher)
}

// One entry kills every process that receives it. It used to move all entries that were read with
// it to the dead letters.
func TestFault_D2_KillerTakesOnlyItself(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for _, c := range []struct{ entries, killer, most, atMost int }{
		{50, 20, 16, 4},
		{1000, 700, 16, 4},
		{50, 20, 4, 4},
		{50, 20, 3, 3},
		{50, 20, 2, 2},
	} {
		t.Run(fmt.Sprintf("%d of %d with %d deliveries", c.killer, c.entries, c.most), func(t *testing.T) {
			key := redistest.Key(t)
			all := rig.Add(t, rdb, key, c.entries)
			killer := all[c.killer]
			left := len(all)
			for lives := 1; left > 0; lives++ {
				if lives > 20 {
					t.Fatalf("%d entries left after %d lives", left, lives)
				}
				r, err := NewGroup(rdb, GroupConfig{Key: key, Group: "g", MaxDeliveries: c.most})
				if err != nil {
					t.Fatal(err)
				}
				r.turn = new(turnOfOne)
				if err := r.Open(rig.Ctx(t)); err != nil {
					t.Fatal(err)
				}
				for left > 0 {
					var b redisio.Batch
					if err := r.Read(rig.Ctx(t), 1000, 0, &b); err != nil {
						t.Fatal(err)
					}
					dies := false
					for _, e := range b.Entries {
						switch most := int64(c.most); {
						case e.Deliveries > most && e.ID != killer:
							t.Fatalf("%s is given up after %d deliveries, and is innocent", e.ID, e.Deliveries)
						case e.Deliveries > most:
							left--
						case e.ID == killer:
							dies = true
						case e.Deliveries > int64(c.atMost):
							t.Fatalf("%s is innocent and was delivered %d times", e.ID, e.Deliveries)
						}
						if e.ID == killer && e.Deliveries >= int64(min(c.most, aloneFrom)) && len(b.Entries) > 1 {
							t.Fatalf(
								"the killer is not alone in its delivery %d: %d entries",
								e.Deliveries,
								len(b.Entries),
							)
						}
					}
					if dies {
						break
					}
					if n, err := r.Ack(rig.Ctx(t), rig.IDs(b.Entries)); err != nil || n != len(b.Entries) {
						t.Fatal(n, err)
					}
					left -= len(b.Entries)
					if slices.Contains(rig.IDs(b.Entries), killer) {
						left++
					}
				}
				if left > 0 {
					kill(t, rdb, r)
				}
				if err := r.Close(rig.Ctx(t)); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(rig.Pending(t, rdb, key)); n != 0 {
				t.Errorf("%d pending", n)
			}
		})
	}
}

// A reader that holds entries waits until they are settled before it returns suspects. New entries
// are read in between.
func TestFault_D2_NothingIsReadBesideSuspects(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 3)
	suspects := abandon(t, rdb, key, 3)
	for _, id := range suspects {
		setPending(t, rdb, key, "dead", id, time.Hour, 5)
	}
	fresh := rig.Add(t, rdb, key, 2)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: 10 * time.Second}})
	var order []string
	for len(order) < 5 {
		var b redisio.Batch
		if err := r.Read(rig.Ctx(t), 100, 0, &b); err != nil {
			t.Fatal(err)
		}
		if n := len(b.Entries); n > 1 && slices.Contains(suspects, b.Entries[0].ID) {
			t.Fatalf("%d suspects at once", n)
		}
		// Another Read waits until these are settled.
		c, cancel := context.WithTimeout(rig.Ctx(t), 10*time.Millisecond)
		var more redisio.Batch
		if slices.Contains(suspects, b.Entries[0].ID) {
			if err := r.Read(c, 100, 0, &more); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("read %v beside a suspect, %v", rig.IDs(more.Entries), err)
			}
		}
		cancel()
		order = append(order, rig.IDs(b.Entries)...)
		if _, err := r.Ack(rig.Ctx(t), rig.IDs(b.Entries)); err != nil {
			t.Fatal(err)
		}
	}
	if at := slices.Index(order, fresh[0]); at < 1 || at > 2 {
		t.Errorf("new entries came at %d of %v", at, order)
	}
}

// A stage may hold a suspect for longer than a lease. Its reader goes on.
func TestFault_D2_PauseIsBounded(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 1)
	setPending(t, rdb, key, "dead", abandon(t, rdb, key, 1)[0], time.Hour, 5)
	r, _ := open(
		t,
		rdb,
		GroupConfig{Key: key, Tuning: Tuning{Lease: 300 * time.Millisecond, Block: 20 * time.Millisecond}},
	)
	rig.Read(t, r, 1)
	want := rig.Add(t, rdb, key, 1)
	if got := rig.IDs(rig.Read(t, r, 1)); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// An entry that failed for the second time is offered to other readers first.
func TestFault_D3_NextTryGoesElsewhere(t *testing.T) {
	t.Parallel()
	// If the healthy reader is slower than the time for which entries are offered, as on a busy machine,
	// the failing one rightly goes on. Then they try again.
	for again := range 5 {
		n := triesOfFailing(t)
		if n <= 150 {
			return
		}
		t.Logf("time %d: the failing reader got %d entries", again, n)
	}
	t.Error("the failing reader keeps the entries")
}

// triesOfFailing returns how many entries a failing reader got until a healthy one had all 30.
func triesOfFailing(t *testing.T) int {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	failing, _ := open(t, rdb, GroupConfig{Key: key})
	healthy, _ := open(t, rdb, GroupConfig{Key: key}) // defaults, and idle
	c, cancel := context.WithTimeout(rig.Ctx(t), redistest.Patience)
	defer cancel()
	got := make(chan redisio.Entry, 30)
	tries := make(chan int, 1)
	idle := make(chan struct{})
	go func() { // each entry fails
		n := 0
		close(idle)
		for {
			var b redisio.Batch
			if err := failing.Read(c, 100, 0, &b); err != nil {
				break
			}
			n += len(b.Entries)
			if err := failing.Nack(c, rig.IDs(b.Entries), 10*time.Millisecond); err != nil {
				break
			}
		}
		tries <- n
	}()
	<-idle
	want := rig.Add(t, rdb, key, 30)
	redistest.Soon(t, "all have failed", func() bool { return failing.Parked() == 30 })
	go func() {
		defer close(got)
		for {
			var b redisio.Batch
			if healthy.Read(c, 100, 0, &b) != nil {
				return
			}
			for _, e := range b.Entries {
				got <- e
			}
			if _, err := healthy.Ack(c, rig.IDs(b.Entries)); err != nil {
				return
			}
		}
	}()
	seen := 0
	for e := range got {
		if seen++; !slices.Contains(want, e.ID) || e.Deliveries < 2 {
			t.Errorf("got %+v", e)
		}
		if seen == 30 {
			cancel()
		}
	}
	n := <-tries
	if seen != 30 {
		t.Fatalf("the healthy reader got %d, the failing one %d times", seen, n)
	}
	return n
}

// A single reader takes the entry itself, after one attempt to find another reader.
func TestFault_D3_AloneItGoesOn(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 1)
	rdb.XGroupCreate(rig.Ctx(t), key, "g", "0")
	rdb.XGroupCreateConsumer(rig.Ctx(t), key, "g", "long dead")
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: 2 * time.Second}})
	for n := int64(1); n <= 4; n++ {
		e := rig.Read(t, r, 1)
		if e[0].Deliveries != n {
			t.Fatalf("got %+v, want delivery %d", e[0], n)
		}
		if c := &r.company; !c.lonely.IsZero() { // a busy machine may be slower than the time for which it is noted
			c.lonely = c.lonely.Add(time.Minute)
		}
		if err := r.Nack(rig.Ctx(t), rig.IDs(e), time.Millisecond); err != nil {
			t.Fatal(err)
		}
		owner := rig.Pending(t, rdb, key)[e[0].ID].Consumer
		if offered := owner == redisio.ReleasedConsumer; offered != (n == 2) {
			t.Errorf("after delivery %d it is pending for %q", n, owner)
		}
	}
}

// An entry that was offered to others returns when the group is lost.
func TestFault_D3_OfferedIsRestored(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 1)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: 2 * time.Second, Block: 20 * time.Millisecond}})
	if err := r.Nack(rig.Ctx(t), rig.IDs(rig.Read(t, r, 1)), 0); err != nil {
		t.Fatal(err)
	}
	rdb.XGroupCreateConsumer(rig.Ctx(t), key, "g", "another")
	e := rig.Read(t, r, 1)
	if err := r.Nack(rig.Ctx(t), rig.IDs(e), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if p := rig.Pending(t, rdb, key)[e[0].ID]; p.Consumer != redisio.ReleasedConsumer {
		t.Fatalf("pending %+v", p)
	}
	rdb.XGroupDestroy(rig.Ctx(t), key, "g")
	if again := rig.Read(t, r, 1); again[0].ID != e[0].ID || again[0].Deliveries != 3 {
		t.Fatalf("got %+v", again[0])
	}
}

// Dead letters that other clients cause must not fill the server. Dropped letters are reported.
func TestFault_S6_DeadLettersAreBounded(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	if c := (GroupConfig{}).withDefaults(); c.DeadMaxLen != 100_000 {
		t.Errorf("the default is %d", c.DeadMaxLen)
	}
	for _, most := range []int64{100, -1} {
		dead := fmt.Sprint(key, ":dead", most)
		rig.Add(t, rdb, key, 1000)
		r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{DeadMaxLen: most}})
		letters := make([]DeadLetter, 1000)
		for i, id := range rig.IDs(rig.Read(t, r, 1000)) {
			letters[i].ID = id
		}
		if err := r.Dead(rig.Ctx(t), dead, letters); err != nil {
			t.Fatal(err)
		}
		n := rdb.XLen(rig.Ctx(t), dead).Val()
		if bounded := n < 300; bounded != (most > 0) || int64(l.Total(redisio.EventDeadDropped)) != 1000-n {
			t.Errorf("with %d: %d letters, %d told as dropped", most, n, l.Total(redisio.EventDeadDropped))
		}
	}
}

// Other clients count deliveries without an attempt to handle the entry. Such an entry is delivered
// once, and not given up unseen.
func TestFault_D19_RaisedCountsAreTriedOnce(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for _, raised := range []int{3, 5, 100} {
		t.Run(fmt.Sprint(raised), func(t *testing.T) {
			key := redistest.Key(t)
			rig.Add(t, rdb, key, 1)
			id := abandon(t, rdb, key, 1)[0]
			setPending(t, rdb, key, "foreign", id, time.Hour, raised)
			for _, want := range []int64{3, 4} { // the last one; then it is given up
				r, err := NewGroup(rdb, GroupConfig{Key: key, Group: "g", MaxDeliveries: 3})
				if err == nil {
					r.turn = new(turnOfOne)
					err = r.Open(rig.Ctx(t))
				}
				if err != nil {
					t.Fatal(err)
				}
				if e := rig.Read(t, r, 1); e[0].ID != id || e[0].Deliveries != want {
					t.Fatalf("got %+v, want delivery %d", e[0], want)
				}
				kill(t, rdb, r)
				if err := r.Close(rig.Ctx(t)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
