package reader

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A failover loses the last entries, and the new server gives their IDs to other entries. The
// reader returns such an entry although it holds the same ID, and settling the old one does not
// settle it.
func TestReissuedIDIsAnotherEntry(t *testing.T) {
	ctx := context.Background()
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	p := rig.NewProxy(t, redistest.Shared(t).Addr())
	lost := make(chan []string, 1)
	r, err := NewGroup(
		p.Client(t),
		GroupConfig{Key: key, Group: "g", Tuning: Tuning{Block: 20 * time.Millisecond, Lease: time.Minute},
			OnLost: func(ids []string) { lost <- ids }},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(ctx); err != nil {
		t.Fatal(err)
	}
	defer r.Close(ctx)
	issue := func(value string) {
		t.Helper()
		if err := rdb.XAdd(ctx,
			&redis.XAddArgs{Stream: key, ID: "5-1", Values: []string{"data", value}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	issue("old")
	var b redisio.Batch
	if err := r.Read(ctx, 10, 0, &b); err != nil || string(b.Entries[0].Fields[0].Value) != "old" {
		t.Fatal(b.Entries, err)
	}
	p.CutAll()
	pipe := rdb.TxPipeline() // what a failover looks like from here
	pipe.Del(ctx, key)
	pipe.XGroupCreateMkStream(ctx, key, "g", "0")
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the reader is connected again", func() bool {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_ = r.Read(short, 10, 0, &b)
		return r.Ready(time.Minute) == nil && r.Stats().Reconnects > 0
	})
	issue("new")
	if err := r.Read(ctx, 10, 0, &b); err != nil || len(b.Entries) != 1 ||
		string(b.Entries[0].Fields[0].Value) != "new" {
		t.Fatal("the new entry was not handed out:", b.Entries, err)
	}
	if ids := <-lost; len(ids) != 1 || ids[0] != "5-1" {
		t.Errorf("lost %v", ids)
	}
	r.Late([]string{"5-1"}) // the work on the old one ends
	if n := rdb.XPending(ctx, key, "g").Val().Count; n != 1 {
		t.Errorf("%d entries pending, want the new one", n)
	}
	if n, err := r.Ack(ctx, []string{"5-1"}); n != 1 || err != nil {
		t.Errorf("the new one: %d acked, %v", n, err)
	}
}

// OnLost may settle other entries, also while an ID arrives again.
func TestOnLostMaySettle(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	p := rig.NewProxy(t, redistest.Shared(t).Addr())
	acked := make(chan error, 1)
	var r *Group
	r, err := NewGroup(
		p.Client(t),
		GroupConfig{Key: key, Group: "g", Tuning: Tuning{Block: 20 * time.Millisecond, Lease: time.Minute},
			OnLost: func([]string) {
				c, cancel := context.WithTimeout(context.Background(), redistest.Patience)
				defer cancel()
				_, err := r.Ack(c, []string{"4-1"})
				acked <- err
			}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	for _, id := range []string{"4-1", "5-1"} {
		rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, ID: id, Values: []string{"data", "x"}})
	}
	rig.Read(t, r, 2)
	p.CutAll()
	redistest.Soon(t, "the reader is connected again", func() bool {
		short, cancel := context.WithTimeout(rig.Ctx(t), 50*time.Millisecond)
		defer cancel()
		var b redisio.Batch
		_ = r.Read(short, 10, 0, &b)
		return r.Stats().Reconnects > 0
	})
	rdb.XGroupSetID(rig.Ctx(t), key, "g", "4-1")
	if got := rig.IDs(rig.Read(t, r, 1)); got[0] != "5-1" {
		t.Fatalf("read %v", got)
	}
	if err := <-acked; err != nil {
		t.Error(err)
	}
}

// After a failover there are two masters for some seconds, and connections of one reader may lead to
// different ones. Entries that only the old one has pending are settled, and do not return.
func TestSettledEntriesOfAnOldMasterStaySettled(t *testing.T) {
	old, now, key := redistest.Start(t), redistest.Start(t), redistest.Key(t)
	p := rig.NewProxy(t, old.Addr())
	r, l := open(t, p.Client(t), GroupConfig{Key: key, Consumer: "me", Tuning: Tuning{Lease: time.Minute}})
	for _, s := range []*redistest.Server{old, now} {
		rdb := s.Client(t)
		rdb.XGroupCreateMkStream(rig.Ctx(t), key, "g", "0")
		for _, id := range []string{"1-1", "1-2", "1-3"} {
			rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, ID: id, Values: []string{"data", "x"}})
		}
		if err := rdb.XReadGroup(rig.Ctx(t), &redis.XReadGroupArgs{Group: "g", Consumer: "me",
			Streams: []string{key, ">"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	is := now.Client(t)
	is.XAck(rig.Ctx(t), key, "g", "1-1", "1-2", "1-3")
	is.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, ID: "2-1", Values: []string{"data", "x"}})
	old.Client(t).ConfigSet(rig.Ctx(t), "min-replicas-to-write", "1")
	p.Redirect(now.Addr())
	// A refused write makes one client leave the old master. The other keeps its connection from Open.
	redistest.Soon(t, "a client leaves the old master", func() bool {
		return r.control.XGroupCreateConsumer(rig.Ctx(t), key, "g", "me").Err() == nil
	})
	r.former = false
	r.distrust()
	if got := rig.IDs(rig.Read(t, r, 1)); got[0] != "2-1" {
		t.Errorf("read %v", got)
	}
	if n := l.Total(redisio.EventRestored); n != 0 || len(rig.Pending(t, is, key)) != 1 {
		t.Errorf("%d restored, pending %v", n, rig.Pending(t, is, key))
	}
}

// An entry that is acked while the list of pending entries arrives is not held and listed. It is not
// restored, and does not return.
func TestAckedWhileSearchingStaysAcked(t *testing.T) {
	server, key := redistest.Shared(t), redistest.Key(t)
	rdb := server.Client(t)
	o := *server.Options()
	var meanwhile func()
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &listing{Conn: c, listed: func() { meanwhile() }}, err
	}
	tapped := redis.NewClient(&o)
	defer tapped.Close()
	r, l := open(t, tapped, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute}})
	rig.Add(t, rdb, key, 2)
	ids := rig.IDs(rig.Read(t, r, 2))
	meanwhile = sync.OnceFunc(func() {
		if n, err := r.Ack(rig.Ctx(t), ids); n != 2 || err != nil {
			t.Error(n, err)
		}
	})
	r.distrust()
	want := rig.Add(t, rdb, key, 1)
	if got := rig.IDs(rig.Read(t, r, 1)); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	if n := l.Total(redisio.EventRestored); n != 0 || len(rig.Pending(t, rdb, key)) != 1 {
		t.Errorf("%d restored, pending %v", n, rig.Pending(t, rdb, key))
	}
}

// listing is a connection that calls listed when a list of pending entries has arrived.
type listing struct {
	net.Conn
	listed func()
	asked  bool
}

func (c *listing) Write(p []byte) (int, error) {
	c.asked = bytes.HasPrefix(p, []byte("*7\r\n$8\r\nxpending")) // of one consumer
	return c.Conn.Write(p)
}

func (c *listing) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.asked && n > 0 {
		c.asked = false
		c.listed()
	}
	return n, err
}
