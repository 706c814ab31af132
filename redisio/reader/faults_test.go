package reader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Benthos' connect#2662: a dead consumer's entries were never taken over.
func TestReclaimFromDeadConsumer(t *testing.T) {
	t.Parallel()
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := rig.Add(t, rdb, key, 25)
	rdb.XGroupCreate(rig.Ctx(t), key, "g", "0")
	if err := rdb.XReadGroup(rig.Ctx(t),
		&redis.XReadGroupArgs{Group: "g", Consumer: "dead", Streams: []string{key, ">"}, Count: 20}).Err(); err != nil {
		t.Fatal(err)
	}
	const lease, left = time.Minute, 300 * time.Millisecond
	r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: lease, ReclaimEvery: 50 * time.Millisecond}})
	var early []string
	for len(early) < 5 {
		early = append(early, rig.IDs(rig.Read(t, r, 1))...) // the live ones come without waiting
	}
	if !slices.Equal(early, want[20:]) {
		t.Fatalf("got %v", early)
	}
	if n, err := r.Ack(rig.Ctx(t), early); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	age := []any{"xclaim", key, "g", "dead", 0}
	for _, id := range want[:20] {
		age = append(age, id)
	}
	start := time.Now()
	if err := rdb.Do(rig.Ctx(t), append(age, "idle", (lease-left).Milliseconds(), "justid")...).Err(); err != nil {
		t.Fatal(err)
	}
	rdb.XDel(rig.Ctx(t), key, want[3])
	again := rig.Read(t, r, 19)
	if time.Since(start) < 250*time.Millisecond {
		t.Fatalf("reclaimed after %v, before the lease ended", time.Since(start))
	}
	for _, e := range again {
		if e.Deliveries != 2 || len(e.Fields) != 1 {
			t.Fatalf("got %+v", e)
		}
	}
	// COUNT bounds each step, so order is kept, and the tombstone is gone and counted.
	if got := rig.IDs(again); !slices.Equal(got, slices.Delete(slices.Clone(want[:20]), 3, 4)) {
		t.Fatalf("got %v", got)
	}
	if n, err := r.Ack(rig.Ctx(t), rig.IDs(again)); n != 19 || err != nil {
		t.Fatal(n, err)
	}
	redistest.Soon(t, "the tombstone is gone", func() bool {
		var b redisio.Batch
		c, cancel := context.WithTimeout(context.Background(), 60*time.Millisecond)
		defer cancel()
		_ = r.Read(c, 1, 0, &b)
		_, still := rig.Pending(t, rdb, key)[want[3]]
		return !still
	})
	if l.Total(redisio.EventTrimmed) != 1 {
		t.Errorf("trimmed %d, want 1", l.Total(redisio.EventTrimmed))
	}
}

// watermill-redisstream redelivered its own running message: it did not renew it, and did not check
// what it held.
func TestRenewalKeepsHeldEntries(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	// A busy machine may stop for longer than a short lease. Then the entries are taken over rightly,
	// and a longer lease shows that they are kept.
	err := keepsHeld(t, rdb, 300*time.Millisecond)
	for _, lease := range []time.Duration{2 * time.Second, 10 * time.Second} {
		if err != nil {
			t.Log(err)
			err = keepsHeld(t, rdb, lease)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func keepsHeld(t *testing.T, rdb *redis.Client, lease time.Duration) error {
	key := redistest.Key(t)
	rig.Add(t, rdb, key, 10)
	a, la := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: lease, ReclaimEvery: 20 * time.Millisecond}})
	b, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: lease, ReclaimEvery: 20 * time.Millisecond}})
	got := rig.IDs(rig.Read(t, a, 10))
	var both sync.WaitGroup
	came := make([]error, 2)
	for i, r := range []*Group{a, b} { // both look for idle entries for four leases
		both.Go(func() {
			c, cancel := context.WithTimeout(context.Background(), 4*lease)
			defer cancel()
			var batch redisio.Batch
			if err := r.Read(c, 10, 0, &batch); !errors.Is(err, context.DeadlineExceeded) {
				came[i] = fmt.Errorf("lease %v: read %v, %w", lease, rig.IDs(batch.Entries), err)
			}
		})
	}
	both.Wait()
	if err := errors.Join(came...); err != nil {
		return err
	}
	for id, p := range rig.Pending(t, rdb, key) {
		if p.Consumer != a.Consumer() || p.RetryCount != 1 {
			return fmt.Errorf("lease %v: %s: %+v", lease, id, p)
		}
	}
	if n, err := a.Ack(rig.Ctx(t), got); n != 10 || err != nil || la.Total(redisio.EventLeaseLost) != 0 {
		return fmt.Errorf("lease %v: ack %d, %w, lost %d", lease, n, err, la.Total(redisio.EventLeaseLost))
	}
	return nil
}

func TestLostLeaseIsReported(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 3)
	lost := make(chan []string, 10)
	r, _ := open(
		t,
		rdb,
		GroupConfig{
			Key:    key,
			Tuning: Tuning{Lease: 300 * time.Millisecond},
			OnLost: func(ids []string) { lost <- ids },
		},
	)
	got := rig.IDs(rig.Read(t, r, 3))
	if err := rdb.XClaimJustID(rig.Ctx(t),
		&redis.XClaimArgs{Stream: key, Group: "g", Consumer: "thief", Messages: got[1:2]}).Err(); err != nil {
		t.Fatal(err)
	}
	select {
	case ids := <-lost:
		if !slices.Equal(ids, got[1:2]) {
			t.Fatalf("lost %v, want %v", ids, got[1:2])
		}
	case <-time.After(redistest.Patience):
		t.Fatal("not reported")
	}
	if p := rig.Pending(t, rdb, key)[got[1]]; p.Consumer != "thief" || r.Held() != 2 {
		t.Fatalf("%+v, held %d: the renewal stole it back", p, r.Held())
	}
}

func TestLostReplyOfRead(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := rig.NewProxy(t, s.Addr())
	r, l := open(t, p.Client(t), GroupConfig{Key: key, Tuning: Tuning{Block: 100 * time.Millisecond}})
	held := rig.IDs(rig.Read(t, r, len(rig.Add(t, rdb, key, 5)))) // held: must not be delivered again
	want := rig.Add(t, rdb, key, 20)
	p.LoseReplies("\r\n>\r\n", 1) // of a read of new entries
	again := rig.Read(t, r, 20)
	if !slices.Equal(rig.IDs(again), want) {
		t.Fatalf("got %v\nwant %v", rig.IDs(again), want)
	}
	if p.Lost() != 1 || l.Total(redisio.EventRecovered) == 0 {
		t.Fatalf("lost %d replies, events %+v: the test did not test", p.Lost(), l.Events)
	}
	for id, e := range rig.Pending(t, rdb, key) { // they were never delivered before, and held ones were not touched
		if e.RetryCount != 1 {
			t.Fatalf("%s: %d deliveries counted, want 1", id, e.RetryCount)
		}
	}
	if n, err := r.Ack(rig.Ctx(t), append(held, want...)); n != 25 || err != nil {
		t.Fatal(n, err)
	}
	readNothing(t, r, 300*time.Millisecond)
}

func TestLostReplyOfTake(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := rig.NewProxy(t, s.Addr())
	want := rig.Add(t, rdb, key, 10)
	r, _ := open(
		t,
		p.Client(t),
		GroupConfig{Key: key, Tuning: Tuning{Lease: 400 * time.Millisecond, Block: 20 * time.Millisecond}},
	)
	got := rig.IDs(rig.Read(t, r, 10))
	if err := r.Nack(rig.Ctx(t), got, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	p.LoseReplies("eval", 1)
	again := rig.IDs(rig.Read(t, r, 10))
	if slices.Sort(again); !slices.Equal(again, want) || p.Lost() != 1 {
		t.Fatalf("got %v, lost %d", again, p.Lost())
	}
}

// A reader with a stable name takes the entries that an earlier run left, as redeliveries.
func TestFormerLife(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 3)
	rdb.XGroupCreate(rig.Ctx(t), key, "g", "0")
	rdb.XReadGroup(rig.Ctx(t), &redis.XReadGroupArgs{Group: "g", Consumer: "me", Streams: []string{key, ">"}, Count: 2})
	r, _ := open(t, rdb, GroupConfig{Key: key, Consumer: "me"})
	var got []int64
	for range 3 { // those of the earlier run are suspects: nothing else is read with them
		e := rig.Read(t, r, 1)
		got = append(got, e[0].Deliveries)
		if _, err := r.Ack(rig.Ctx(t), rig.IDs(e)); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Sort(got); !slices.Equal(got, []int64{1, 2, 2}) {
		t.Fatalf("deliveries %v", got)
	}
}

// watermill-redisstream and go-streams never recovered from a lost group.
func TestHeal(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for name, lose := range map[string]func(t *testing.T, key string){
		"group destroyed": func(t *testing.T, key string) { rdb.XGroupDestroy(rig.Ctx(t), key, "g") },
		"stream deleted":  func(t *testing.T, key string) { rdb.Del(rig.Ctx(t), key) },
	} {
		for _, blocked := range []bool{false, true} {
			t.Run(map[bool]string{false: name, true: name + " while blocked"}[blocked], func(t *testing.T) {
				key := redistest.Key(t)
				rig.Add(t, rdb, key, 5)
				r, l := open(
					t,
					rdb,
					GroupConfig{
						Key:    key,
						Tuning: Tuning{Block: time.Second, Lease: time.Minute, ReclaimEvery: time.Minute},
					},
				)
				got := rig.IDs(rig.Read(t, r, 3))
				var want []string
				added := make(chan struct{})
				if !blocked {
					lose(t, key)
					want = rig.Add(t, rdb, key, 2)
					close(added)
				} else {
					got = append(got, rig.IDs(rig.Read(t, r, 2))...)
					time.AfterFunc(50*time.Millisecond, func() {
						lose(t, key)
						time.AfterFunc(100*time.Millisecond, func() { want = rig.Add(t, rdb, key, 2); close(added) })
					})
				}
				n := 2
				if !blocked && name == "group destroyed" {
					n = 4 // two were not delivered yet
				}
				after := rig.IDs(rig.Read(t, r, n))
				<-added
				if !slices.Equal(after[n-2:], want) {
					t.Fatalf("got %v, want %v at the end", after, want)
				}
				if l.Times(redisio.EventGroupRecreated) != 1 {
					t.Fatalf("events %+v", l.Events)
				}
				if name == "group destroyed" { // what is held is pending again
					if n, err := r.Ack(rig.Ctx(t), append(got, after...)); n != len(got)+len(after) || err != nil {
						t.Fatalf("acked %d of %d, %v", n, len(got)+len(after), err)
					}
				}
			})
		}
	}
}

func TestServerDownAndBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	rdb := s.Client(t)
	r, l := open(t, rdb, GroupConfig{Key: "k"})
	want := rig.Add(t, rdb, "k", 3)
	got := rig.IDs(rig.Read(t, r, 1))
	s.Kill(t)
	back := time.AfterFunc(200*time.Millisecond, func() { s.Restart(t) })
	defer back.Stop()
	got = append(got, rig.IDs(rig.Read(t, r, 2))...)
	if !slices.Equal(got, want) || l.Times(redisio.EventReconnecting) == 0 || l.Times(redisio.EventReconnected) == 0 {
		t.Fatalf("got %v, want %v; events %+v", got, want, l.Events)
	}
	acked := 0
	redistest.Soon(t, "all are acked", func() bool { // go-redis may not have dialled again yet
		n, err := r.Ack(rig.Ctx(t), got)
		acked += n
		return err == nil
	})
	if acked != 3 {
		t.Fatal(acked)
	}
	s.FlushAll(t)
	want = rig.Add(t, rdb, "k", 2)
	if got = rig.IDs(rig.Read(t, r, 2)); !slices.Equal(got, want) || l.Times(redisio.EventGroupRecreated) != 1 {
		t.Fatalf("after FLUSHALL: got %v, want %v; events %+v", got, want, l.Events)
	}
}

// A group that is destroyed repeatedly is recreated at a bounded rate.
func TestHealIsSlow(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	rdb := s.Client(t)
	r, l := open(t, rdb, GroupConfig{Key: "k", Tuning: Tuning{Block: time.Second}})
	c, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for c.Err() == nil {
			rdb.XGroupDestroy(context.Background(), "k", "g")
		}
	})
	var b redisio.Batch
	if err := r.Read(c, 1, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	wg.Wait()
	if n := l.Times(redisio.EventGroupRecreated); n > 15 { // maybe 0: it can be destroyed each time before it is whole
		t.Fatalf("made again %d times in a second", n)
	}
}

// asynq's retried acks reused a context that had ended.
func TestAckFailsOnce(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := rig.NewProxy(t, s.Addr())
	r, _ := open(t, p.Client(t), GroupConfig{Key: key, Tuning: Tuning{Lease: 300 * time.Millisecond}})
	rig.Add(t, rdb, key, 2)
	got := rig.IDs(rig.Read(t, r, 2))
	p.SetDown(true)
	c, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if n, err := r.Ack(c, got); n != 0 || err == nil || r.Held() != 2 {
		t.Fatalf("%d, %v, held %d; want the entries held still", n, err, r.Held())
	}
	p.SetDown(false)
	if n, err := r.Ack(rig.Ctx(t), got); n != 2 || err != nil || r.Held() != 0 {
		t.Fatalf("%d, %v, held %d", n, err, r.Held())
	}
}

// faststream saw 1,650 commands per second under a permanent error.
func TestPermanentErrorIsSlow(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	rdb := s.Client(t)
	r, _ := open(t, rdb, GroupConfig{Key: "k"})
	rdb.Set(rig.Ctx(t), "k", "not a stream", 0)
	before := commands(t, rdb)
	c, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	reads := 0
	for c.Err() == nil {
		var b redisio.Batch
		err := r.Read(c, 1, 0, &b)
		var p *redisio.PermanentError
		if c.Err() == nil && (!errors.As(err, &p) || !fault.IsWrongType(err)) {
			t.Fatalf("got %v", err)
		}
		reads++
	}
	if n := commands(t, rdb) - before; reads > 15 || n > 40 {
		t.Fatalf("%d reads, %d commands in a second", reads, n)
	}
}

func commands(t *testing.T, rdb redis.UniversalClient) (n int) {
	t.Helper()
	m := rdb.InfoMap(rig.Ctx(t), "stats")
	if m.Err() != nil {
		t.Fatal(m.Err())
	}
	for _, c := range m.Val()["Stats"]["total_commands_processed"] {
		n = n*10 + int(c-'0')
	}
	return n
}

func TestNoRights(t *testing.T) {
	s := redistest.Start(t)
	admin := s.Client(t)
	if err := admin.Do(rig.Ctx(t), "acl", "setuser", "weak", "on", ">pw", "~*", "+@all",
		"-xreadgroup").Err(); err != nil {
		t.Fatal(err)
	}
	weak := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "weak", Password: "pw"})
	defer weak.Close()
	r, _ := open(t, weak, GroupConfig{Key: "k"})
	var p *redisio.PermanentError
	var b redisio.Batch
	if err := r.Read(rig.Ctx(t), 1, 0, &b); !errors.As(err, &p) || !redis.HasErrorPrefix(err, "NOPERM") {
		t.Fatalf("got %v", err)
	}
	wrong := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "weak", Password: "no"})
	defer wrong.Close()
	r, _ = NewGroup(wrong, GroupConfig{Key: "k", Group: "g", Wait: redistest.Patience})
	start := time.Now()
	if err := r.Open(rig.Ctx(t)); !errors.As(err, &p) || time.Since(start) > redistest.Patience/4 {
		t.Fatalf("got %v after %v, want a PermanentError at once", err, time.Since(start))
	}
}

// Two readers use connections that are cut at random places. In the end each entry is acked exactly
// once, and none is lost.
func TestNothingLostUnderCuts(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := rig.NewProxy(t, s.Addr())
	const n = 2000
	want := rig.Add(t, rdb, key, n)
	var mu sync.Mutex
	seen := map[string]int{}
	acked, batches := 0, 0
	c, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	var wg sync.WaitGroup
	for range 2 {
		r, _ := open(
			t,
			p.Client(t),
			GroupConfig{
				Key: key,
				Tuning: Tuning{
					Block:        30 * time.Millisecond,
					Lease:        900 * time.Millisecond,
					ReclaimEvery: 50 * time.Millisecond,
				},
			},
		)
		wg.Go(func() {
			for c.Err() == nil {
				var b redisio.Batch
				if r.Read(c, 37, 0, &b) != nil {
					continue
				}
				got := rig.IDs(b.Entries)
				for try := 0; ; try++ {
					k, err := r.Ack(context.Background(), got)
					mu.Lock()
					acked += k
					mu.Unlock()
					if err == nil || c.Err() != nil {
						break
					}
				}
				mu.Lock()
				batches++
				for _, id := range got {
					seen[id]++
				}
				if len(seen) == n {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		done := 0                 // batches before the last cut
		for i := 0; i < 90; i++ { // a slow machine needs a time without cuts
			select {
			case <-tick.C:
				mu.Lock()
				now := batches
				mu.Unlock()
				if i%3 == 0 {
					p.LoseReplies("xreadgroup", 1)
				} else if i%3 == 1 {
					p.LoseReplies("xack", 1)
				} else if now > done {
					done = now
					p.CutAll()
				} else {
					i-- // a slow machine would finish nothing if all was cut again
				}
			case <-c.Done():
				return
			}
		}
	})
	wg.Wait()
	if len(seen) != n {
		missing := 0
		for _, id := range want {
			if seen[id] == 0 {
				missing++
			}
		}
		t.Fatalf("%d entries never seen; pending %d", missing, len(rig.Pending(t, rdb, key)))
	}
	t.Logf("lost replies %d", p.Lost())
}
