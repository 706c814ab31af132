package reader

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestAskingStartsSmall(t *testing.T) {
	var a conn.Asking
	if n := a.Count(1000, 0); n != 1000 {
		t.Errorf("without a bound: %d, want 1000", n)
	}
	var got []int
	for range 5 {
		n := a.Count(1000, 64<<20)
		got = append(got, n)
		a.Learn(&redisio.Batch{Entries: make([]redisio.Entry, n), Bytes: n * 100})
	}
	for i, want := range []int{16, 128, 1000, 1000, 1000} {
		if got[i] != want {
			t.Fatalf("asked for %v", got)
		}
	}
	a.Learn(&redisio.Batch{Entries: make([]redisio.Entry, 1), Bytes: 1 << 20}) // up at once
	if n := a.Count(1000, 64<<20); n != 64 {
		t.Errorf("after an entry of 1 MiB: %d, want 64", n)
	}
	if n := a.Count(1000, 1); n != 1 {
		t.Errorf("with one byte left: %d, want 1", n)
	}
}

func TestNackEachHasItsOwnDelays(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	want := rig.Add(t, rdb, key, 3)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute}})
	rig.Read(t, r, 3)
	since := time.Now()
	n, err := r.NackEach(rig.Ctx(t), want, []time.Duration{300 * time.Millisecond, 0, 100 * time.Millisecond})
	if n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i, at := range []int{1, 2, 0} {
		e := rig.Read(t, r, 1)[0]
		if e.ID != want[at] || e.Deliveries != 2 {
			t.Errorf("number %d is %s with %d deliveries, want %s with 2", i, e.ID, e.Deliveries, want[at])
		}
	}
	if d := time.Since(since); d < 290*time.Millisecond {
		t.Errorf("the last came after %v", d)
	}
	if _, err := r.NackEach(rig.Ctx(t), want, nil); err == nil {
		t.Error("no error for missing delays")
	}
}

// Open must not take several dial timeouts to report that no server is there.
func TestOpenDialsOnce(t *testing.T) {
	dials := 0
	rdb := redis.NewClient(
		&redis.Options{Addr: "silent:1", DialTimeout: 100 * time.Millisecond, Dialer: silent(&dials)},
	)
	defer rdb.Close()
	r, err := NewGroup(rdb, GroupConfig{Key: "k", Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(rig.Ctx(t)); err == nil || dials != 1 {
		t.Errorf("%d dials, error %v", dials, err)
	}
}

// silent dials a host that drops all packets.
func silent(dials *int) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		*dials++
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: context.Cause(ctx)}
	}
}

// A reader does not repeat a request unchanged after a reply that it cannot read.
func TestAskingHalvesWhatFailed(t *testing.T) {
	var a conn.Asking
	n := a.Count(1000, 0)
	for _, want := range []int{500, 250, 125} {
		a.Failed(n, fmt.Errorf("read: %w", &resp.ReplyError{Problem: "bigger than 1 GiB"}))
		if n = a.Count(1000, 0); n != want {
			t.Fatalf("asked for %d, want %d", n, want)
		}
	}
	a.Failed(n, net.ErrClosed) // says nothing about the size
	for _, want := range []int{250, 500, 1000} {
		a.Learn(&redisio.Batch{Entries: make([]redisio.Entry, n)})
		if n = a.Count(1000, 0); n != want {
			t.Fatalf("asked for %d, want %d", n, want)
		}
	}
	a.Failed(1, &resp.ReplyError{})
	if n = a.Count(1000, 0); n != 1 {
		t.Fatalf("asked for %d, want 1", n)
	}
}
