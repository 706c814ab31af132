package reader

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A reader cut off for longer than a lease acks an entry that another reader has taken: the other
// keeps it.
func TestLateAckIsFenced(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := rig.NewProxy(t, s.Addr())
	lease := 600 * time.Millisecond
	a, l := open(t, p.Client(t), GroupConfig{Key: key, Tuning: Tuning{Lease: lease}})
	b, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: lease, ReclaimEvery: 20 * time.Millisecond}})
	want := rig.Add(t, rdb, key, 3)
	rig.Read(t, a, 3)
	p.SetDown(true)
	if got := rig.IDs(rig.Read(t, b, 3)); !slices.Equal(got, want) {
		t.Fatalf("taken over %v", got)
	}
	p.SetDown(false)
	if n, err := a.Ack(rig.Ctx(t), want); n != 0 || err != nil {
		t.Fatalf("late ack: %d, %v", n, err)
	}
	if l.Total(redisio.EventLateAcks) != 3 || l.Total(redisio.EventStaleAcks) != 0 || a.Held() != 0 {
		t.Fatalf(
			"late %d, stale %d, held %d",
			l.Total(redisio.EventLateAcks),
			l.Total(redisio.EventStaleAcks),
			a.Held(),
		)
	}
	if n, err := b.Ack(rig.Ctx(t), want); n != 3 || err != nil {
		t.Fatalf("the new owner's ack: %d, %v", n, err)
	}
}

// Two calls may settle the same list.
func TestSettlingTwice(t *testing.T) {
	var h held.Set
	h.Init()
	ids := []string{"1-0"}
	h.Add([]redisio.Entry{{ID: "1-0", Position: redisio.ID{Ms: 1}}}, time.Now())
	first, _ := h.Settle(rig.Ctx(t), ids)
	second, _ := h.Settle(rig.Ctx(t), ids)
	first()
	short, cancel := context.WithCancel(rig.Ctx(t))
	cancel()
	if _, err := h.Quiesce(short); !errors.Is(err, context.Canceled) || len(h.Unsettled(slices.Clone(ids))) != 0 {
		t.Error("the second is under way:", err)
	}
	second()
	resume, err := h.Quiesce(short)
	if err != nil {
		t.Fatal(err)
	}
	resume()
}

func TestLateAcks(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	got := rig.Add(t, rdb, key, 6)
	r, l := open(t, rdb, GroupConfig{Key: key})
	rig.Read(t, r, 6)
	for _, id := range got[:2] {
		rdb.XClaimJustID(
			rig.Ctx(t),
			&redis.XClaimArgs{Stream: key, Group: "g", Consumer: "other", Messages: []string{id}},
		)
	}
	r.lose(got[:1])                                                 // known to be lost
	r.held.Lapse(got[1:4], []int64{0, 0, 0}, time.Minute)           // not renewed for long: one of them is another's,
	rdb.XAck(rig.Ctx(t), key, "g", got[2])                          // one is done,
	if n, err := r.Ack(rig.Ctx(t), got[:5]); n != 2 || err != nil { // one is ours still, and one never lapsed
		t.Fatal(n, err)
	}
	if l.Total(redisio.EventLateAcks) != 2 || l.Total(redisio.EventStaleAcks) != 1 || r.Held() != 1 ||
		len(rig.Pending(t, rdb, key)) != 3 {
		t.Fatalf(
			"late %d, stale %d, held %d, pending %v",
			l.Total(redisio.EventLateAcks),
			l.Total(redisio.EventStaleAcks),
			r.Held(),
			rig.Pending(t, rdb, key),
		)
	}
	// An entry that another consumer released, and that was delivered here again, can be acked.
	if n, err := r.Ack(rig.Ctx(t), got[5:]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	rdb.XClaimJustID(rig.Ctx(t), &redis.XClaimArgs{Stream: key, Group: "g", Consumer: r.Consumer(), Messages: got[:2]})
	r.distrust()
	if again := rig.IDs(rig.Read(t, r, 2)); !slices.Equal(again, got[:2]) {
		t.Fatalf("got %v", again)
	}
	if n, err := r.Ack(rig.Ctx(t), got[:2]); n != 2 || err != nil {
		t.Fatal(n, err)
	}
}

// Close releases entries of a delivery that it interrupted. A nacked entry keeps its delay.
func TestCloseGivesBackLostReply(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := rig.NewProxy(t, s.Addr())
	r, _ := open(t, p.Client(t), GroupConfig{Key: key, Tuning: Tuning{Block: time.Second}})
	later := rig.Add(t, rdb, key, 1)
	rig.Read(t, r, 1)
	if err := r.Nack(rig.Ctx(t), later, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	p.LoseReplies("\r\n>\r\n", 1) // of a read of new entries
	c, cancel := context.WithCancel(rig.Ctx(t))
	done := make(chan error, 1)
	go func() { var b redisio.Batch; done <- r.Read(c, 10, 0, &b) }()
	redistest.Soon(t, "a read is under way", func() bool { return p.Lost() == 1 })
	cancel()
	want := rig.Add(t, rdb, key, 3)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := r.Close(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{ReclaimEvery: 20 * time.Millisecond}}) // lease 30 s
	if got := rig.IDs(rig.Read(t, other, 3)); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if left := rig.Pending(t, rdb, key)[later[0]]; left.Idle > 28*time.Second || left.Consumer != r.Consumer() {
		t.Fatalf("nacked for later: %+v", left)
	}
}
