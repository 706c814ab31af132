package reader

import (
	"math"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Other clients mark an entry as hopeless with the highest possible delivery count (XNACK FATAL). A
// script converted that number to a form that XCLAIM refuses, so the entry stopped its readers, one
// after the other.
func TestHighestDeliveryCount(t *testing.T) {
	t.Parallel()
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := rig.Add(t, rdb, key, 2)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute, ReclaimEvery: 20 * time.Millisecond}})
	renew := func() {
		t.Helper()
		if err := r.renew(rig.Ctx(t), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	rig.Read(t, r, 2)
	if n, err := r.Ack(rig.Ctx(t), want[1:]); n != 1 || err != nil { // else it would wait for a lease
		t.Fatalf("acked %d, %v", n, err)
	}
	if err := rdb.Do(rig.Ctx(t), "xclaim", key, "g", "other", 0, want[0], "idle", time.Hour.Milliseconds(),
		"retrycount", int64(math.MaxInt64), "justid").Err(); err != nil {
		t.Fatal(err)
	}
	renew() // it has lost the entry
	got := rig.Read(t, r, 1)
	if got[0].ID != want[0] || got[0].Deliveries < 1e15 {
		t.Fatalf("read %+v", got)
	}
	since := time.Now()
	renew()
	if len(r.held.Stale(since)) > 0 {
		t.Error("its lease is not renewed")
	}
	rdb.XGroupDelConsumer(rig.Ctx(t), key, "g", "other") // it comes back here at once
	if err := r.Nack(rig.Ctx(t), want[:1], 0); err != nil {
		t.Fatal(err)
	}
	if got := rig.Read(t, r, 1); got[0].Deliveries < 1e15 {
		t.Fatalf("read %+v", got)
	}
	rdb.XGroupDelConsumer(rig.Ctx(t), key, "g", r.Consumer())
	renew()
	if p := rig.Pending(t, rdb, key)[want[0]]; p.RetryCount < 1e15 {
		t.Errorf("restored as %+v", p)
	}
	if n, err := r.Ack(rig.Ctx(t), want[:1]); n != 1 || err != nil {
		t.Fatalf("acked %d, %v", n, err)
	}
}

// CLAIM reports the deliveries before its own.
func TestHighestDeliveryCountOfAClaim(t *testing.T) {
	var b redisio.Batch
	n, err := resp.ParseRead(
		[]byte(
			"*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*4\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"+
				":60000\r\n:9223372036854775807\r\n",
		),
		&b,
	)
	if n != 1 || err != nil || b.Entries[0].Deliveries != math.MaxInt64 {
		t.Fatalf("%d claimed, %v: %+v", n, err, b.Entries)
	}
}
