package reader

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// The deadline of the read detects a server that hangs. Probes report it, and report success when
// the server recovers.
func TestHungServerIsNotReady(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client(t)
	r, l := open(t, rdb, GroupConfig{Key: "k", Tuning: Tuning{Lease: 30 * time.Second}})
	tail := openTail(t, rdb, TailConfig{Key: "k", Block: 50 * time.Millisecond})
	if r.wire.Timeout != r.cfg.Block+conn.ReplyMargin {
		t.Fatalf("a read waits %v", r.wire.Timeout)
	}
	r.wire.Timeout, tail.wire.Timeout = 300*time.Millisecond, 300*time.Millisecond // the margin is for slow lines
	if err := errors.Join(r.Ready(time.Minute), tail.Ready(time.Minute)); err != nil {
		t.Fatal(err)
	}
	type result struct {
		ids []string
		err error
	}
	group, followed := make(chan result, 1), make(chan result, 1)
	for _, reader := range []struct {
		r interface {
			Read(context.Context, int, int64, *redisio.Batch) error
		}
		to chan result
	}{{r, group}, {tail, followed}} {
		go func() {
			var b redisio.Batch
			err := reader.r.Read(rig.Ctx(t), 10, 0, &b)
			reader.to <- result{rig.IDs(b.Entries), err}
		}()
	}
	began := r.LastRoundTrip()
	redistest.Soon(
		t,
		"reads make round trips",
		func() bool { return r.LastRoundTrip().After(began) && !tail.LastRoundTrip().IsZero() },
	)
	s.Pause(t)
	redistest.Soon(t, "it is not ready", func() bool {
		return errors.Is(r.Ready(50*time.Millisecond), os.ErrDeadlineExceeded) && tail.Ready(50*time.Millisecond) != nil
	})
	t.Log(r.Ready(0))
	redistest.Soon(t, "there is an event", func() bool { return l.Times(redisio.EventReconnecting) > 0 })
	s.Resume(t)
	want := rig.Add(t, rdb, "k", 1)
	for _, to := range []chan result{group, followed} {
		if got := <-to; got.err != nil || !slices.Equal(got.ids, want) {
			t.Fatalf("got %+v, want %v", got, want)
		}
	}
	if err := errors.Join(r.Ready(time.Minute), tail.Ready(time.Minute)); err != nil {
		t.Fatal(err)
	}
}

func TestReady(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	r, err := NewGroup(rdb, GroupConfig{Key: key, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(time.Minute); !errors.Is(err, redisio.ErrNotOpen) || !r.LastRoundTrip().IsZero() {
		t.Fatal(err)
	}
	if err := r.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(time.Minute); err != nil {
		t.Fatal(err)
	}
	rdb.Del(rig.Ctx(t), key)
	rdb.Set(rig.Ctx(t), key, "no stream", 0)
	var b redisio.Batch
	if err := r.Read(rig.Ctx(t), 1, 0, &b); !redisio.IsPermanent(err) {
		t.Fatal(err)
	}
	redistest.Soon(
		t,
		"a refusal is no round trip",
		func() bool { return redisio.IsPermanent(r.Ready(time.Millisecond)) },
	)
	if err := r.Close(rig.Ctx(t)); err == nil {
		t.Log("closed")
	}
	if err := r.Ready(time.Minute); !errors.Is(err, redisio.ErrClosed) {
		t.Fatal(err)
	}
}
