package redisio

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A reader cut off for longer than a lease acks what another has by now: that stays the other's.
func TestLateAckIsFenced(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := newProxy(t, s.Addr())
	lease := 600 * time.Millisecond
	a, l := open(t, p.client(t), GroupConfig{Key: key, Lease: lease})
	b, _ := open(t, rdb, GroupConfig{Key: key, Lease: lease, ReclaimEvery: 20 * time.Millisecond})
	want := add(t, rdb, key, 3)
	read(t, a, 3)
	p.setDown(true)
	if got := ids(read(t, b, 3)); !slices.Equal(got, want) {
		t.Fatalf("taken over %v", got)
	}
	p.setDown(false)
	if n, err := a.Ack(ctx(t), want); n != 0 || err != nil {
		t.Fatalf("late ack: %d, %v", n, err)
	}
	if l.total(EventLateAcks) != 3 || l.total(EventStaleAcks) != 0 || a.Held() != 0 {
		t.Fatalf("late %d, stale %d, held %d", l.total(EventLateAcks), l.total(EventStaleAcks), a.Held())
	}
	if n, err := b.Ack(ctx(t), want); n != 3 || err != nil {
		t.Fatalf("the new owner's ack: %d, %v", n, err)
	}
}

// Two calls may settle the same list.
func TestSettlingTwice(t *testing.T) {
	var h heldSet
	h.init()
	ids := []string{"1-0"}
	h.add([]Entry{{ID: "1-0", Position: ID{Ms: 1}}}, time.Now())
	first, _ := h.settle(ctx(t), ids)
	second, _ := h.settle(ctx(t), ids)
	first()
	short, cancel := context.WithCancel(ctx(t))
	cancel()
	if _, err := h.quiesce(short); !errors.Is(err, context.Canceled) || len(h.unsettled(slices.Clone(ids))) != 0 {
		t.Error("the second is under way:", err)
	}
	second()
	resume, err := h.quiesce(short)
	if err != nil {
		t.Fatal(err)
	}
	resume()
}

func TestLateAcks(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	got := add(t, rdb, key, 6)
	r, l := open(t, rdb, GroupConfig{Key: key})
	read(t, r, 6)
	for _, id := range got[:2] {
		rdb.XClaimJustID(ctx(t), &redis.XClaimArgs{Stream: key, Group: "g", Consumer: "other", Messages: []string{id}})
	}
	r.lose(got[:1])                                             // known to be lost
	r.held.lapse(got[1:4], []int64{0, 0, 0}, time.Minute)       // not renewed for long: one of them is another's,
	rdb.XAck(ctx(t), key, "g", got[2])                          // one is done,
	if n, err := r.Ack(ctx(t), got[:5]); n != 2 || err != nil { // one is ours still, and one never lapsed
		t.Fatal(n, err)
	}
	if l.total(EventLateAcks) != 2 || l.total(EventStaleAcks) != 1 || r.Held() != 1 || len(pending(t, rdb, key)) != 3 {
		t.Fatalf(
			"late %d, stale %d, held %d, pending %v",
			l.total(EventLateAcks),
			l.total(EventStaleAcks),
			r.Held(),
			pending(t, rdb, key),
		)
	}
	// What another has given up again, and was delivered to us once more, is ours to ack.
	if n, err := r.Ack(ctx(t), got[5:]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	rdb.XClaimJustID(ctx(t), &redis.XClaimArgs{Stream: key, Group: "g", Consumer: r.Consumer(), Messages: got[:2]})
	r.distrust()
	if again := ids(read(t, r, 2)); !slices.Equal(again, got[:2]) {
		t.Fatalf("got %v", again)
	}
	if n, err := r.Ack(ctx(t), got[:2]); n != 2 || err != nil {
		t.Fatal(n, err)
	}
}

// Entries whose delivery was cut off by the end are given back at the end, what was nacked for later keeps its time.
func TestCloseGivesBackLostReply(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	p := newProxy(t, s.Addr())
	r, _ := open(t, p.client(t), GroupConfig{Key: key, Block: time.Second})
	later := add(t, rdb, key, 1)
	read(t, r, 1)
	if err := r.Nack(ctx(t), later, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	p.loseReplies("xreadgroup", 1)
	c, cancel := context.WithCancel(ctx(t))
	done := make(chan error, 1)
	go func() { var b Batch; done <- r.Read(c, 10, 0, &b) }()
	redistest.Soon(t, "a read is under way", func() bool { return p.lost() == 1 })
	cancel()
	want := add(t, rdb, key, 3)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := r.Close(ctx(t)); err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, rdb, GroupConfig{Key: key, ReclaimEvery: 20 * time.Millisecond}) // lease 30 s
	if got := ids(read(t, other, 3)); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if left := pending(t, rdb, key)[later[0]]; left.Idle > 28*time.Second || left.Consumer != r.Consumer() {
		t.Fatalf("nacked for later: %+v", left)
	}
}
