package redistest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func soon(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	t.Cleanup(cancel)
	return c
}

func TestSentinel(t *testing.T) {
	c := soon(t)
	s := redistest.StartSentinel(t, 1)
	rdb := s.Client(t)
	if err := rdb.Set(c, "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := rdb.Wait(c, 1, redistest.Patience).Result(); n != 1 || err != nil {
		t.Fatalf("%d replicas have it: %v", n, err)
	}
	old, now, err := s.Failover(c)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.Master(c); err != nil || m != now || old == now || now != s.Nodes[1] {
		t.Fatalf("the master is %v, %v", m, err)
	}
	if v, err := s.Client(t).Get(c, "a").Result(); v != "b" || err != nil {
		t.Fatalf("%q, %v behind the failover", v, err)
	}
	old.Restart(t)
}

func TestCluster(t *testing.T) {
	c := soon(t)
	cl := redistest.StartCluster(t, 1)
	rdb := cl.Client(t)
	for i := range 10 {
		if err := rdb.Set(c, fmt.Sprint("{tag}", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	slot, err := cl.Slot(c, "tag")
	if err != nil {
		t.Fatal(err)
	}
	from, err := cl.Owner(c, slot)
	if err != nil {
		t.Fatal(err)
	}
	to := cl.Nodes[0]
	if to == from {
		to = cl.Nodes[1]
	}
	err = cl.MoveSlot(c, slot, to, func() {
		for i := range 10 { // at either node
			if v, err := rdb.Get(c, fmt.Sprint("{tag}", i)).Int(); v != i || err != nil {
				t.Errorf("in between: %d, %v", v, err)
			}
		}
		if err := rdb.Set(c, "{tag}new", 1, 0).Err(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if now, err := cl.Owner(c, slot); now != to || err != nil {
		t.Fatalf("it is at %v, %v", now, err)
	}
	n, err := to.Client(t).Keys(c, "{tag}*").Result()
	if err != nil || len(n) != 11 {
		t.Fatalf("%v moved: %v", n, err)
	}
	old, now, err := cl.Failover(c, slot)
	if err != nil || old != to || now == to {
		t.Fatalf("failover: %v", err)
	}
}

func TestTLS(t *testing.T) {
	s := redistest.StartTLS(t, redistest.UnixSocket())
	if err := s.Client(t).Set(soon(t), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	o := s.Options()
	o.TLSConfig.Certificates = nil
	o.MaxRetries = -1
	for name, o := range map[string]*redis.Options{"without a certificate": o, "without TLS": {Addr: s.Addr(), MaxRetries: -1}} {
		rdb := redis.NewClient(o)
		if err := rdb.Ping(soon(t)).Err(); err == nil {
			t.Error("it talks to clients " + name)
		}
		_ = rdb.Close() // nothing is on its way
	}
	unix := redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket()})
	defer unix.Close()
	if v, err := unix.Get(soon(t), "a").Result(); v != "b" || err != nil {
		t.Errorf("by the socket: %q, %v", v, err)
	}
}

func TestUser(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.User(t, "writer", "~a", "+set")
	if err := rdb.Set(soon(t), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"another key": rdb.Set(soon(t), "b", "", 0).Err(),
		"another command": rdb.Get(soon(t), "a").Err(), "PING": rdb.Ping(soon(t)).Err()} {
		if !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestReplica(t *testing.T) {
	s := redistest.Start(t, redistest.Args("--repl-diskless-sync-delay", "0"))
	if err := s.Client(t).Set(soon(t), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v, err := s.StartReplica(t).Client(t).Get(soon(t), "a").Result(); v != "b" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
}
