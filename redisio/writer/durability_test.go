package writer

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// replica starts a replica of s and waits until it is in step.
func replica(t *testing.T, s *redistest.Server) *redistest.Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr())
	r := redistest.Start(t, redistest.Args("--replicaof", host+" "+port))
	rdb := s.Client(t)
	redistest.Soon(t, "the replica is in step", func() bool {
		return strings.Contains(rdb.Info(rig.Ctx(t), "replication").Val(), "state=online") &&
			rdb.Wait(rig.Ctx(t), 1, 100*time.Millisecond).Val() == 1
	})
	return r
}

func TestWriteReplicated(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Args("--repl-diskless-sync-delay", "0"))
	rep := replica(t, s)
	rdb, key := s.Client(t), redistest.Key(t)
	cfg := Config{
		Key:          key,
		DedupeWindow: time.Minute,
		Tuning:       Tuning{Durability: Durability{Replicas: 1, Timeout: 300 * time.Millisecond}},
	}
	w := openWriter(t, rdb, cfg)
	if w.idmp {
		t.Fatal("IDMP writes nothing for a duplicate: there would be nothing to wait for")
	}
	results := make([]redisio.Result, 300)
	redistest.Soon(t, "a write is confirmed", func() bool { return w.Write(rig.Ctx(t), named(0, 300), results) == nil })
	if n := rep.Client(t).XLen(rig.Ctx(t), key).Val(); n != 300 {
		t.Errorf("%d entries on the replica", n)
	}
	rep.Pause(t)
	err := w.Write(rig.Ctx(t), named(300, 100), results)
	var weak *DurabilityError
	if !errors.As(err, &weak) || !errors.Is(err, redisio.ErrUnknownOutcome) || errors.Is(err, redisio.ErrNotWritten) ||
		redisio.IsPermanent(err) ||
		weak.Replicas != 0 ||
		weak.Want.Replicas != 1 {
		t.Fatalf("got %v", err)
	}
	for _, r := range results[:100] {
		if r.ID == "" || r.Err == nil {
			t.Fatalf("got %+v", r)
		}
	}
	// A duplicate is not more durable than the first entry.
	if err := w.Write(rig.Ctx(t), named(300, 100), results); !errors.As(err, &weak) || !results[0].Duplicate {
		t.Fatalf("got %v, %+v", err, results[0])
	}
	rep.Resume(t)
	redistest.Soon(t, "it is confirmed", func() bool { return w.Write(rig.Ctx(t), named(300, 100), results) == nil })
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 400 || !results[99].Duplicate {
		t.Errorf("%d entries, want 400", n)
	}
	two := openWriter(
		t,
		rdb,
		Config{Key: key, Tuning: Tuning{Durability: Durability{Replicas: 2, Timeout: 10 * time.Millisecond}}},
	)
	if err := two.Write(rig.Ctx(t), rig.Outgoing(1), results); !errors.As(err, &weak) || weak.Replicas > 1 {
		t.Errorf("got %v", err)
	}
}

func TestWriteFsynced(t *testing.T) {
	s := redistest.Start(t, redistest.Args("--appendonly", "yes", "--appendfsync", "everysec"))
	rdb, key := s.Client(t), redistest.Key(t)
	cfg := Config{Key: key, Tuning: Tuning{Durability: Durability{Fsync: true, Timeout: 10 * time.Second}}}
	if rdb.Do(rig.Ctx(t), "waitaof", 0, 0, 1).Err() != nil { // before 7.2
		w, err := New(rdb, cfg)
		if err != nil {
			t.Fatal(err)
		}
		var p *redisio.PermanentError
		if err := w.Open(rig.Ctx(t)); !errors.As(err, &p) || !strings.Contains(err.Error(), "7.2") {
			t.Errorf("got %v", err)
		}
		return
	}
	w := openWriter(t, rdb, cfg)
	write(t, w, 300)
	rdb.ConfigSet(rig.Ctx(t), "appendonly", "no")
	var weak *DurabilityError
	if err := w.Write(rig.Ctx(t), rig.Outgoing(1), make([]redisio.Result, 1)); !errors.As(err, &weak) ||
		!redisio.IsPermanent(err) ||
		weak.Fsynced {
		t.Errorf("got %v", err)
	}
}

// A reply that is lost after those of the entries leaves them unconfirmed.
func TestWriteReplicatedLostReply(t *testing.T) {
	s := redistest.Start(t)
	p := rig.NewProxy(t, s.Addr())
	w := openWriter(
		t,
		p.Client(t),
		Config{Key: "k", Tuning: Tuning{Durability: Durability{Replicas: 1, Timeout: 50 * time.Millisecond}}},
	)
	p.LoseReplies("wait", 1)
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.Write(c, rig.Outgoing(3), make([]redisio.Result, 3)); !errors.Is(err, redisio.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
}

func TestDurabilityNeedsToKnowTheServer(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": redistest.Shared(t).Addr()}})
	defer ring.Close()
	w, err := New(ring, Config{Key: "k", Tuning: Tuning{Durability: Durability{Replicas: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	var c *redisio.ConfigError
	if err := w.Open(rig.Ctx(t)); !errors.As(err, &c) {
		t.Errorf("got %v", err)
	}
}

// On a cluster WAIT is sent to the node that has the key, whichever node the client would choose.
func TestWriteOptionsCluster(t *testing.T) {
	t.Parallel()
	nodes := []*redistest.Server{
		redistest.Start(
			t,
			redistest.Args("--cluster-enabled", "yes"),
		), redistest.Start(t, redistest.Args("--cluster-enabled", "yes")),
		redistest.Start(t, redistest.Args("--cluster-enabled", "yes", "--repl-diskless-sync-delay", "0")),
	}
	do := func(n int, args ...any) any {
		t.Helper()
		v, err := nodes[n].Client(t).Do(rig.Ctx(t), args...).Result()
		if err != nil {
			t.Fatal(args, err)
		}
		return v
	}
	do(0, "cluster", "addslotsrange", 0, 8191)
	do(1, "cluster", "addslotsrange", 8192, 16383)
	do(1, "cluster", "set-config-epoch", 2)
	for _, n := range nodes[1:] {
		host, port, _ := net.SplitHostPort(n.Addr())
		do(0, "cluster", "meet", host, port)
	}
	id := do(0, "cluster", "myid")
	redistest.Soon(t, "the third node is a replica of the first", func() bool {
		return nodes[2].Client(t).Do(rig.Ctx(t), "cluster", "replicate", id).Err() == nil
	})
	rdb := redis.NewClusterClient(
		&redis.ClusterOptions{Addrs: []string{nodes[0].Addr()}, ReadTimeout: redistest.Patience},
	)
	defer rdb.Close()
	redistest.Soon(t, "the cluster is up", func() bool {
		return rdb.Set(rig.Ctx(t), "a", "", 0).Err() == nil && rdb.Set(rig.Ctx(t), "b", "", 0).Err() == nil &&
			nodes[0].Client(t).Do(rig.Ctx(t), "wait", 1, 100).Val() == int64(1)
	})
	// The slot of {b} is on the first node, that of {a} on the second, which has no replica.
	w := openWriter(t, rdb, Config{MaxLen: 10, Tuning: Tuning{
		Exact:      true,
		Durability: Durability{Replicas: 1, Timeout: 500 * time.Millisecond},
	}, DedupeWindow: time.Minute})
	results := make([]redisio.Result, 60)
	var weak *DurabilityError
	// wrote reports whether the replica has confirmed in time what it can. On a busy machine it may be late.
	wrote := func(from int, again bool) (inTime bool) {
		out := named(from, 60)
		for i := range out {
			out[i].Key = []string{"{a}", "{b}", "{b}2"}[i%3]
		}
		err := w.Write(rig.Ctx(t), out, results)
		if !errors.As(err, &weak) || weak.Key != "{a}" {
			t.Fatalf("got %v", err)
		}
		inTime = true
		for i, r := range results {
			late := i%3 != 0 && errors.As(r.Err, new(*DurabilityError))
			inTime = inTime && !late
			if r.Duplicate != again || r.ID == "" && !again || !late && (r.Err != nil) != (i%3 == 0) {
				t.Fatalf("entry %d: %+v", i, r)
			}
		}
		return inTime
	}
	from := -60
	redistest.Soon(t, "the replica confirms new entries", func() bool { from += 60; return wrote(from, false) })
	redistest.Soon(t, "it confirms duplicates", func() bool { return wrote(from, true) })
	for _, key := range []string{"{a}", "{b}", "{b}2"} {
		if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 10 {
			t.Errorf("%s: %d entries", key, n)
		}
	}
}
