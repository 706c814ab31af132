package gather_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func newBarrier(t *testing.T, cfg gather.BarrierConfig) *gather.Barrier {
	t.Helper()
	b, err := gather.NewBarrier(redistest.Shared(t).Client(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBarrier(t *testing.T) {
	cfg := gather.BarrierConfig{Name: redistest.Key(t), Expect: 3}
	var wg sync.WaitGroup
	for range 4 { // some wait before all have arrived, some after
		wg.Go(func() {
			if err := newBarrier(t, cfg).Wait(rig.Ctx(t)); err != nil {
				t.Error(err)
			}
		})
	}
	for i, who := range []string{"a", "b", "a", "b", "c", "a", "c"} {
		if reached, err := newBarrier(t, cfg).Reached(rig.Ctx(t)); reached != (i > 4) || err != nil {
			t.Errorf("before arrival %d: reached %v, %v", i, reached, err)
		}
		want := []int{1, 2, 2, 2, 3, 3, 3}[i]
		if n, err := newBarrier(t, cfg).Arrive(rig.Ctx(t), who); n != want || err != nil {
			t.Errorf("arrival %d: %d, %v", i, n, err)
		}
	}
	wg.Wait()
	b := newBarrier(t, cfg)
	if err := b.Wait(rig.Ctx(t)); err != nil {
		t.Error(err)
	}
	if _, err := b.Arrive(rig.Ctx(t), "d"); !errors.Is(err, gather.ErrTooMany) {
		t.Errorf("a fourth participant: %v", err)
	}
	for _, who := range []string{"", strings.Repeat("x", 201)} {
		if large := (*gather.TooLargeError)(nil); !errors.As(second(b.Arrive(rig.Ctx(t), who)), &large) {
			t.Errorf("a participant with a name of %d bytes arrived", len(who))
		}
	}
	rdb := redistest.Shared(t).Client(t)
	keys := rdb.Keys(rig.Ctx(t), "{"+cfg.Name+"}*").Val()
	for _, key := range keys {
		if ttl := rdb.PTTL(rig.Ctx(t), key).Val(); ttl <= 0 {
			t.Errorf("%s does not expire", key)
		}
	}
	if len(keys) != 2 {
		t.Errorf("keys %q", keys)
	}
	if err := b.Delete(rig.Ctx(t)); err != nil {
		t.Error(err)
	}
	if reached, err := b.Reached(rig.Ctx(t)); reached || err != nil {
		t.Errorf("a deleted barrier: %v %v", reached, err)
	}
}

func second(_ int, err error) error { return err }

// Wait ends with its context.
func TestBarrierWaitEnds(t *testing.T) {
	b := newBarrier(t, gather.BarrierConfig{Name: redistest.Key(t), Expect: 1})
	ctx, cancel := context.WithCancel(rig.Ctx(t))
	why := errors.New("enough")
	ended := make(chan error)
	ctx, cause := context.WithCancelCause(ctx)
	defer cancel()
	go func() { ended <- b.Wait(ctx) }()
	cause(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestEnd(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	cfg := gather.EndConfig{Key: redistest.Key(t), Producers: 2}
	e, err := gather.NewEnd(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx := rig.Ctx(t)
	add := func(n int) {
		t.Helper()
		for range n {
			if err := rdb.XAdd(ctx, redistest.Entry(cfg.Key, "data", "x")).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mark := func(who string, want int) {
		t.Helper()
		if n, err := e.Mark(ctx, who); n != want || err != nil {
			t.Errorf("%s marks the end: %d, %v", who, n, err)
		}
	}
	expect := func(what string, want bool) {
		t.Helper()
		if at, err := e.Reached(ctx, "g"); at != want || err != nil {
			t.Errorf("%s: at the end %v, want %v, %v", what, at, want, err)
		}
	}
	read := func(n int) (ids []string) {
		t.Helper()
		got, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: "g", Consumer: "c", Streams: []string{cfg.Key, ">"},
			Count: int64(n), Block: -1,
		}).Result()
		if err != nil || len(got[0].Messages) != n {
			t.Fatal(got, err)
		}
		for _, m := range got[0].Messages {
			ids = append(ids, m.ID)
		}
		return ids
	}
	expect("nothing written", false)
	mark("a", 1) // before it has written anything
	add(3)
	rig.Grouped(t, rdb, cfg.Key, "g")
	mark("a", 1) // again, after a restart
	add(1)
	expect("one mark", false)
	mark("b", 2)
	add(1) // after the marks
	expect("unread", false)
	ids := read(3)
	expect("one unread before the mark", false)
	ids = append(ids, read(2)...)
	expect("pending", false)
	ack := func(ids ...string) {
		t.Helper()
		if err := rdb.XAck(ctx, cfg.Key, "g", ids...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ack(ids[0], ids[1], ids[3])
	expect("one pending before the mark", false)
	ack(ids[2])
	expect("one pending behind the mark", true)
	if err := rdb.XTrimMaxLen(ctx, cfg.Key, 0).Err(); err != nil {
		t.Fatal(err)
	}
	expect("trimmed", true)
	if _, err := e.Mark(ctx, "c"); !errors.Is(err, gather.ErrTooMany) {
		t.Errorf("a third producer: %v", err)
	}
	if ttl := rdb.PTTL(ctx, redisio.Beside(cfg.Key, ":end")).Val(); ttl <= 0 {
		t.Errorf("the marks expire in %v", ttl)
	}
	if err := e.Reopen(ctx); err != nil {
		t.Error(err)
	}
	expect("reopened", false)
}

// Each role works with exactly the rights that it declares.
func TestAccess(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	name := redistest.Key(t)
	cfg := gather.Config{Name: name}
	barrier := gather.BarrierConfig{Name: name, Expect: 1}
	end := gather.EndConfig{Key: name}
	s := newStore(t, srv.User(t, "gatherer", cfg.Access().Rules()...), cfg)
	open(t, s, "g", gather.Terms{Parts: 1})
	if _, err := s.Send(rig.Ctx(t), "g", 0, "", []byte("x")); err != nil {
		t.Error(err)
	}
	_, _, err1 := s.Begin(rig.Ctx(t), "g", 0)
	elapse(t, srv.Client(t), s, "g")
	if take(t, s, "g") == nil {
		t.Error("the time is not over")
	}
	_, err2 := s.Put(rig.Ctx(t), "g", 0, true, nil)
	open(t, s, "h", gather.Terms{Parts: 1})
	_, err3 := s.Put(rig.Ctx(t), "h", 0, true, nil)
	_, err4 := s.States(rig.Ctx(t), "g")
	if err := errors.Join(err1, err3, err4, s.Cancel(rig.Ctx(t), "h")); err != nil || !errors.Is(err2, gather.ErrOver) {
		t.Error(err, err2)
	}
	b, err := gather.NewBarrier(srv.User(t, "waiter", barrier.Access().Rules()...), barrier)
	if err != nil {
		t.Fatal(err)
	}
	_, err1 = b.Arrive(rig.Ctx(t), "x")
	_, err2 = b.Reached(rig.Ctx(t))
	if err := errors.Join(err1, err2, b.Wait(rig.Ctx(t)), b.Delete(rig.Ctx(t))); err != nil {
		t.Error(err)
	}
	e, err := gather.NewEnd(srv.User(t, "producer", end.Access().Rules()...), end)
	if err != nil {
		t.Fatal(err)
	}
	rig.Add(t, srv.Client(t), name, 1)
	rig.Grouped(t, srv.Client(t), name, "g")
	_, err1 = e.Mark(rig.Ctx(t), "x")
	_, err2 = e.Reached(rig.Ctx(t), "g")
	if err := errors.Join(err1, err2, e.Reopen(rig.Ctx(t))); err != nil {
		t.Error(err)
	}
	if err := srv.User(t, "nobody").Eval(context.Background(), "return 1", nil).Err(); err == nil {
		t.Error(fmt.Errorf("a user without rights may run scripts"))
	}
}
