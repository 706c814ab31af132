package reader

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/writers"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

func TestGroupReadAck(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := rig.Add(t, rdb, key, 5) // before the group exists: the default start sees them
	r, l := open(t, rdb, GroupConfig{Key: key})
	var b redisio.Batch
	if err := r.Read(rig.Ctx(t), 3, 0, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[:3], rig.IDs(b.Entries)); diff != "" {
		t.Fatalf("COUNT not honoured (-want +got):\n%s", diff)
	}
	if v, ok := b.Entries[1].Fields.Get("n"); !ok || string(v) != "1" || b.Entries[1].Deliveries != 1 {
		t.Fatalf("got %+v", b.Entries[1])
	}
	if r.Held() != 3 || len(rig.Pending(t, rdb, key)) != 3 {
		t.Fatalf("held %d, pending %d, want 3 and 3", r.Held(), len(rig.Pending(t, rdb, key)))
	}
	info, err := r.Info(rig.Ctx(t))
	if err != nil || info.Pending != 3 || info.Lag != 2 || info.Consumers != 1 || info.Oldest != want[0] ||
		info.Length != 5 {
		t.Fatalf("info %+v, %v", info, err)
	}
	if n, err := r.Ack(rig.Ctx(t), want[:3]); n != 3 || err != nil {
		t.Fatalf("ack: %d, %v", n, err)
	}
	if n, err := r.Ack(rig.Ctx(t), want[:2]); n != 0 || err != nil || l.Total(redisio.EventStaleAcks) != 2 {
		t.Fatalf("second ack: %d, %v, stale %d; want 0, nil, 2", n, err, l.Total(redisio.EventStaleAcks))
	}
	if r.Held() != 0 || len(rig.Pending(t, rdb, key)) != 0 {
		t.Fatalf("held %d, pending %v, want none", r.Held(), rig.Pending(t, rdb, key))
	}
	if got := rig.IDs(rig.Read(t, r, 2)); !slices.Equal(got, want[3:]) {
		t.Fatalf("then got %v, want %v", got, want[3:])
	}
}

func TestGroupOpen(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	t.Run("makes the stream and tolerates an existing group", func(t *testing.T) {
		key := redistest.Key(t)
		open(t, rdb, GroupConfig{Key: key})
		open(t, rdb, GroupConfig{Key: key})
		if n := rdb.Exists(rig.Ctx(t), key).Val(); n != 1 {
			t.Fatal("no stream made")
		}
	})
	t.Run("at the end", func(t *testing.T) {
		key := redistest.Key(t)
		rig.Add(t, rdb, key, 3)
		r, _ := open(t, rdb, GroupConfig{Key: key, Start: redisio.StartEnd()})
		want := rig.Add(t, rdb, key, 1)
		if got := rig.IDs(rig.Read(t, r, 1)); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
	t.Run("behind an id", func(t *testing.T) {
		key := redistest.Key(t)
		all := rig.Add(t, rdb, key, 3)
		id, _ := redisio.ParseID(all[0])
		r, _ := open(t, rdb, GroupConfig{Key: key, Start: redisio.StartID(id)})
		if got := rig.IDs(rig.Read(t, r, 2)); !slices.Equal(got, all[1:]) {
			t.Fatalf("got %v, want %v", got, all[1:])
		}
	})
	t.Run("wrong type is permanent", func(t *testing.T) {
		key := redistest.Key(t)
		rdb.Set(rig.Ctx(t), key, "x", 0)
		r, err := NewGroup(rdb, GroupConfig{Key: key, Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		var p *redisio.PermanentError
		if err := r.Open(rig.Ctx(t)); !errors.As(err, &p) || !fault.IsWrongType(err) {
			t.Fatalf("got %v, want a PermanentError with WRONGTYPE", err)
		}
		if err := r.Close(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		down := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		defer down.Close()
		r, _ := NewGroup(down, GroupConfig{Key: "k", Group: "g"})
		took := redistest.Patience
		for try := 0; try < 5 && took > 2*time.Second; try++ { // a busy machine may stop for some seconds
			start := time.Now()
			if err := r.Open(rig.Ctx(t)); err == nil {
				t.Fatal("no error")
			}
			took = time.Since(start)
		}
		if took > 2*time.Second {
			t.Fatalf("it fails after %v, want an error at once", took)
		}
		r, _ = NewGroup(down, GroupConfig{Key: "k", Group: "g", Wait: 300 * time.Millisecond})
		if err := r.Open(rig.Ctx(t)); err == nil {
			t.Fatal("no error")
		}
	})
}

func TestGroupConfigMistakes(t *testing.T) {
	_, err := NewGroup(
		nil,
		GroupConfig{Tuning: Tuning{Block: time.Minute, MaxCount: -1, Lease: -1, ReclaimEvery: -1}, Wait: -1},
	)
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 2 {
		t.Fatalf("got %v", err)
	}
	fields := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if j, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // walking a tree
			for _, e := range j.Unwrap() {
				walk(e)
			}
			return
		}
		var c *redisio.ConfigError
		if errors.As(err, &c) {
			fields[c.Field] = true
		}
	}
	walk(err)
	for _, f := range []string{"rdb", "Key", "Group", "Block", "MaxCount", "Lease", "ReclaimEvery", "Wait"} {
		if !fields[f] {
			t.Errorf("no mistake reported for %s", f)
		}
	}
}

// Durations that overflow made a reader search for idle entries without a pause.
func TestTimesThatOverflow(t *testing.T) {
	for _, cfg := range []interface{ Validate() error }{
		GroupConfig{Key: "k", Group: "g", Tuning: Tuning{Lease: math.MaxInt64}},
		GroupConfig{Key: "k", Group: "g", Tuning: Tuning{ReclaimEvery: math.MaxInt64}},
		writer.Config{Key: "k", Tuning: writer.Tuning{
			Durability: writer.Durability{Replicas: 1, Timeout: math.MaxInt64},
		}},
	} {
		var mistake *redisio.ConfigError
		if err := cfg.Validate(); !errors.As(err, &mistake) || mistake.Fix == "" {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	for _, cfg := range []interface{ Validate() error }{
		GroupConfig{Key: "k", Group: "g", Tuning: Tuning{
			Lease:        longestLease,
			ReclaimEvery: longestLease,
			ReapAfter:    math.MaxInt64,
			DelayedEvery: math.MaxInt64,
		}, Wait: math.MaxInt64},
		writer.Config{Key: "k", Tuning: writer.Tuning{MaxAge: math.MaxInt64}, DedupeWindow: math.MaxInt64,
			Wait: math.MaxInt64},
	} {
		if err := cfg.Validate(); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	r, _ := open(
		t,
		rdb,
		GroupConfig{
			Key: key,
			Tuning: Tuning{
				Lease:        longestLease,
				ReclaimEvery: longestLease,
				ReapAfter:    math.MaxInt64,
				DelayedEvery: math.MaxInt64,
			},
			Wait: math.MaxInt64,
		},
	)
	want := rig.Add(t, rdb, key, 1)
	if got := rig.IDs(rig.Read(t, r, 1)); got[0] != want[0] {
		t.Fatal(got)
	}
	readNothing(t, r, 200*time.Millisecond)
	if in := time.Until(r.reclaimAt); in < longestLease/2 || time.Until(r.sweepAt) < in {
		t.Errorf("idle entries are looked for in %v", in)
	}
	w := writers.Open(t, rdb, writer.Config{Key: key, DedupeWindow: math.MaxInt64, Wait: math.MaxInt64})
	once := []redisio.Outgoing{{Fields: redisio.Fields{{Name: "a", Value: []byte("b")}}, DedupeID: "x"}}
	for n := range 2 {
		results := make([]redisio.Result, 1)
		if err := w.Write(rig.Ctx(t), once, results); err != nil || results[0].Duplicate != (n == 1) {
			t.Errorf("write %d: %+v, %v", n, results, err)
		}
	}
}

func TestGroupStates(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	r, err := NewGroup(rdb, GroupConfig{Key: key, Group: "g", Tuning: Tuning{Block: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	var b redisio.Batch
	if err := r.Read(rig.Ctx(t), 1, 0, &b); !errors.Is(err, redisio.ErrNotOpen) {
		t.Fatalf("read before open: %v", err)
	}
	if err := r.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(rig.Ctx(t), 0, 0, &b); err == nil { // redisqueue read everything at zero credit
		t.Fatal("a read of 0 entries went through")
	}
	c, cancel := context.WithCancelCause(rig.Ctx(t))
	why := errors.New("why")
	time.AfterFunc(30*time.Millisecond, func() { cancel(why) })
	if err := r.Read(c, 1, 0, &b); !errors.Is(err, why) {
		t.Fatalf("got %v, want the cause", err)
	}
	readDone := make(chan error, 1)
	go func() { var b redisio.Batch; readDone <- r.Read(rig.Ctx(t), 1, 0, &b) }()
	for range 2 {
		if err := r.Close(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-readDone; !errors.Is(err, redisio.ErrClosed) {
		t.Fatalf("read during close: %v", err)
	}
	if _, err := r.Ack(rig.Ctx(t), []string{"1-1"}); !errors.Is(err, redisio.ErrClosed) {
		t.Fatalf("ack after close: %v", err)
	}
	if err := rdb.Ping(rig.Ctx(t)).Err(); err != nil {
		t.Fatalf("the caller's client was closed: %v", err)
	}
	if n := len(rdb.XInfoConsumers(rig.Ctx(t), key, "g").Val()); n != 0 {
		t.Fatalf("%d consumers left", n)
	}
}

// watermill-redisstream's 24: DELCONSUMER with pending entries loses them.
func TestCloseKeepsPending(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 3)
	a, _ := open(t, rdb, GroupConfig{Key: key})
	b, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{ReclaimEvery: 50 * time.Millisecond}}) // lease 30 s
	got := rig.IDs(rig.Read(t, a, 3))
	if _, err := a.Ack(rig.Ctx(t), got[:1]); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	// Released at once, not after the lease, and counted as a second delivery.
	again := rig.Read(t, b, 2)
	if !slices.Equal(rig.IDs(again), got[1:]) || again[0].Deliveries != 2 || l.Total(redisio.EventReclaimed) != 2 {
		t.Fatalf("got %+v, events %+v", again, l.Events)
	}
	if _, err := b.Ack(rig.Ctx(t), rig.IDs(again)); err != nil {
		t.Fatal(err)
	}
	// The old consumer is gone, and so is the pool.
	if all := rdb.XInfoConsumers(rig.Ctx(t), key, "g").Val(); len(all) != 1 || all[0].Name != b.Consumer() {
		t.Fatalf("consumers %+v", all)
	}
}

func TestAtMostOnce(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := rig.Add(t, rdb, key, 3)
	r, _ := open(t, rdb, GroupConfig{Key: key, AtMostOnce: true})
	if got := rig.IDs(rig.Read(t, r, 3)); !slices.Equal(got, want) || len(rig.Pending(t, rdb, key)) != 0 ||
		r.Held() != 0 {
		t.Fatalf("got %v, pending %v", got, rig.Pending(t, rdb, key))
	}
	if n, err := r.Ack(rig.Ctx(t), want); n != 3 || err != nil {
		t.Fatal(n, err)
	}
}

func TestBytesBoundTheCount(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for range 100 {
		rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, Values: []any{"x", make([]byte, 10_000)}})
	}
	r, _ := open(t, rdb, GroupConfig{Key: key})
	rig.Read(t, r, 1) // learns the size
	var b redisio.Batch
	if err := r.Read(rig.Ctx(t), 1000, 100_000, &b); err != nil || len(b.Entries) < 5 || len(b.Entries) > 10 {
		t.Fatalf("%d entries for 100 kB, %v", len(b.Entries), err)
	}
	if err := r.Read(rig.Ctx(t), 1000, 10, &b); err != nil || len(b.Entries) != 1 {
		t.Fatalf("%d entries for 10 B, %v", len(b.Entries), err)
	}
}

func TestNack(t *testing.T) {
	t.Parallel()
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 3)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute, Block: 20 * time.Millisecond}})
	got := rig.IDs(rig.Read(t, r, 3))
	start := time.Now()
	if err := r.Nack(rig.Ctx(t), got[:1], 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if r.Held() != 2 || r.Parked() != 1 {
		t.Fatalf("held %d, parked %d", r.Held(), r.Parked())
	}
	again := rig.Read(t, r, 1)
	if d := time.Since(start); d < 190*time.Millisecond || d > r.cfg.Lease/2 {
		t.Fatalf("came back after %v, want 200 ms and not a lease", d)
	}
	if again[0].ID != got[0] || again[0].Deliveries != 2 {
		t.Fatalf("got %+v", again[0])
	}
	// Another reader also gets it when it is due, because of the idle time on the server.
	start = time.Now()
	if err := r.Nack(rig.Ctx(t), got[:1], 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	other, _ := open(
		t,
		rdb,
		GroupConfig{
			Key: key,
			Tuning: Tuning{
				Lease:        time.Minute,
				ReclaimEvery: 20 * time.Millisecond,
				Block:        20 * time.Millisecond,
			},
		},
	)
	stolen := rig.Read(t, other, 1)
	if d := time.Since(start); d < 290*time.Millisecond || stolen[0].ID != got[0] || stolen[0].Deliveries != 3 {
		t.Fatalf("got %+v after %v", stolen[0], d)
	}
	// The first reader detects that it no longer owns the entry.
	readNothing(t, r, 100*time.Millisecond)
}

func TestNackBeyondLease(t *testing.T) {
	t.Parallel()
	// On a busy machine a short lease may lapse although its reader lives, see TestRenewalKeepsHeldEntries.
	err := nackBeyond(t, 300*time.Millisecond)
	for _, lease := range []time.Duration{2 * time.Second, 10 * time.Second} {
		if err != nil {
			t.Log(err)
			err = nackBeyond(t, lease)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func nackBeyond(t *testing.T, lease time.Duration) error {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 1)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: lease, Block: 20 * time.Millisecond}})
	other, _ := open(
		t,
		rdb,
		GroupConfig{
			Key:    key,
			Tuning: Tuning{Lease: lease, ReclaimEvery: 20 * time.Millisecond, Block: 20 * time.Millisecond},
		},
	)
	got := rig.IDs(rig.Read(t, r, 1))
	start := time.Now()
	if err := r.Nack(rig.Ctx(t), got, 5*lease); err != nil {
		t.Fatal(err)
	}
	c, cancel := context.WithTimeout(context.Background(), 4*lease-time.Since(start))
	defer cancel()
	var b redisio.Batch
	if err := other.Read(c, 10, 0, &b); !errors.Is(err, context.DeadlineExceeded) { // renewed by the reader that lives
		return fmt.Errorf("lease %v: the other read %v, %w", lease, rig.IDs(b.Entries), err)
	}
	again := rig.Read(t, r, 1)
	if d := time.Since(start); d < 5*lease-20*time.Millisecond {
		return fmt.Errorf("came back after %v, want %v", d, 5*lease)
	}
	if again[0].Deliveries != 2 {
		return fmt.Errorf("lease %v: got %+v", lease, again[0])
	}
	return nil
}

func TestRelease(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 2)
	a, _ := open(t, rdb, GroupConfig{Key: key})
	b, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{ReclaimEvery: 20 * time.Millisecond}})
	got := rig.IDs(rig.Read(t, a, 2))
	if err := a.Release(rig.Ctx(t), got[:1]); err != nil {
		t.Fatal(err)
	}
	if again := rig.IDs(rig.Read(t, b, 1)); again[0] != got[0] {
		t.Fatalf("got %v", again)
	}
	// Releasing entries of another consumer changes nothing.
	if err := a.Release(rig.Ctx(t), got[:1]); err != nil {
		t.Fatal(err)
	}
	if p := rig.Pending(t, rdb, key)[got[0]]; p.Consumer != b.Consumer() || p.Idle > 10*time.Second {
		t.Fatalf("release took it back: %+v", p)
	}
}

func TestDead(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	dead := key + ".dead"
	for range 3 {
		rdb.XAdd(rig.Ctx(t), redistest.Entry(key, "b", "1", "a", "2", "b", "3"))
	}
	r, l := open(t, rdb, GroupConfig{Key: key})
	got := rig.IDs(rig.Read(t, r, 3))
	letters := []DeadLetter{
		{ID: got[0], Extra: redisio.Fields{{Name: "dead:reason", Value: []byte("bad\x00bytes")}}},
		{ID: got[1]},
	}
	rdb.XDel(rig.Ctx(t), key, got[1]) // trimmed while pending, and nothing to say about it
	letters[1].Extra = redisio.Fields{{Name: "dead:id", Value: []byte(got[1])}}
	for range 2 { // the second time as after a lost reply
		if err := r.Dead(rig.Ctx(t), dead, letters); err != nil {
			t.Fatal(err)
		}
	}
	if l.Total(redisio.EventStaleAcks) != 2 {
		t.Errorf("stale %d, want 2", l.Total(redisio.EventStaleAcks))
	}
	tail, err := NewRange(rdb, RangeConfig{Key: dead})
	if err != nil {
		t.Fatal(err)
	}
	_ = tail.Open(rig.Ctx(t))
	var b redisio.Batch
	if err := tail.Read(rig.Ctx(t), 10, 0, &b); err != nil {
		t.Fatal(err)
	}
	want := []redisio.Fields{
		{
			{Name: "b", Value: []byte("1")},
			{Name: "a", Value: []byte("2")},
			{Name: "b", Value: []byte("3")},
			{Name: "dead:reason", Value: []byte("bad\x00bytes")},
		},
		{{Name: "dead:id", Value: []byte(got[1])}},
	}
	var copies []redisio.Fields
	for _, e := range b.Entries {
		copies = append(copies, e.Fields)
	}
	if diff := cmp.Diff(want, copies); diff != "" {
		t.Fatalf("dead letters (-want +got):\n%s", diff)
	}
	if r.Held() != 1 || len(rig.Pending(t, rdb, key)) != 1 {
		t.Fatalf("held %d, pending %d; want 1 and 1", r.Held(), len(rig.Pending(t, rdb, key)))
	}
	t.Run("wrong type keeps the entry pending", func(t *testing.T) {
		rdb.Set(rig.Ctx(t), key+".x", "x", 0)
		if err := r.Dead(rig.Ctx(t), key+".x", []DeadLetter{{ID: got[2]}}); !fault.IsWrongType(err) {
			t.Fatalf("got %v", err)
		}
		if r.Held() != 1 || len(rig.Pending(t, rdb, key)) != 1 {
			t.Fatal("the entry was acked without a copy")
		}
	})
}

func TestManyAcks(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 2500)
	r, _ := open(t, rdb, GroupConfig{Key: key})
	got := rig.IDs(rig.Read(t, r, 2500))
	if n, err := r.Ack(rig.Ctx(t), got); n != 2500 || err != nil || r.Held() != 0 {
		t.Fatalf("%d, %v, held %d", n, err, r.Held())
	}
	// An ack with one bad id is refused as a whole, and the reader still holds the entries.
	rig.Add(t, rdb, key, 1)
	got = rig.IDs(rig.Read(t, r, 1))
	if n, err := r.Ack(rig.Ctx(t), append(got, "bad")); n != 0 || err == nil || r.Held() != 1 {
		t.Fatalf("%d, %v, held %d", n, err, r.Held())
	}
}

func ExampleGroup() {
	rdb := redis.NewClient(&redis.Options{})
	r, err := NewGroup(rdb, GroupConfig{Key: "orders", Group: "billing"})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if err := r.Open(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close(ctx)
	var b redisio.Batch
	for r.Read(ctx, 100, 0, &b) == nil {
		done := make([]string, 0, len(b.Entries))
		for _, e := range b.Entries {
			fmt.Println(e.ID, len(e.Fields))
			done = append(done, e.ID)
		}
		if _, err := r.Ack(ctx, done); err != nil {
			fmt.Println(err)
		}
	}
}
