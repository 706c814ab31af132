package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

func ids(entries []redisio.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.ID)
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// basics runs what the in-process server must support.
func basics(t *testing.T, rdb redis.UniversalClient, key string) {
	ctx := context.Background()
	w, err := writer.New(rdb, writer.Config{Key: key})
	must(t, err)
	must(t, w.Open(ctx))
	out := make([]redisio.Outgoing, 300) // more than a pipe's buffers hold
	for i := range out {
		out[i].Fields = redisio.Fields{{Name: "data", Value: fmt.Append(nil, i, strings.Repeat("x", 200))}}
	}
	results := make([]redisio.Result, len(out))
	must(t, w.Write(ctx, out, results))
	must(t, w.Close(ctx))

	r, err := reader.NewGroup(
		rdb,
		reader.GroupConfig{
			Key:      key,
			Group:    "g",
			Consumer: "me",
			Tuning:   reader.Tuning{Lease: 30 * time.Second, Block: time.Second},
		},
	)
	must(t, err)
	must(t, r.Open(ctx))
	var b redisio.Batch
	var all []string
	for len(all) < len(out) {
		must(t, r.Read(ctx, 100, 0, &b))
		all = append(all, ids(b.Entries)...)
	}
	for i := range results {
		if all[i] != results[i].ID {
			t.Fatalf("entry %d: %s, written as %s", i, all[i], results[i].ID)
		}
	}
	n, err := r.Ack(ctx, all[:290])
	if n != 290 || err != nil {
		t.Fatal(n, err)
	}
	start := time.Now()
	must(t, r.Nack(ctx, all[290:292], 500*time.Millisecond))
	var again []redisio.Entry
	for len(again) < 2 {
		must(t, r.Read(ctx, 100, 0, &b))
		again = append(again, b.Entries...)
	}
	if !slices.Equal(ids(again), all[290:292]) || again[0].Deliveries != 2 || time.Since(start) < 500*time.Millisecond {
		t.Fatalf("got %+v after %v", again, time.Since(start))
	}
	must(
		t,
		r.Dead(
			ctx,
			key+".dead",
			[]reader.DeadLetter{{ID: all[290], Extra: redisio.Fields{{Name: "why", Value: []byte("bad")}}}},
		),
	)
	if n := rdb.XLen(ctx, key+".dead").Val(); n != 1 {
		t.Fatalf("%d dead letters", n)
	}
	must(t, r.Release(ctx, all[291:293]))
	info, err := r.Info(ctx)
	if err != nil || info.Pending != 9 || r.Held() != 7 {
		t.Fatalf("%+v, held %d, %v", info, r.Held(), err)
	}
	must(t, r.Close(ctx))

	// A reader with the same name gets the pending entries before new ones.
	r, err = reader.NewGroup(rdb, reader.GroupConfig{Key: key, Group: "g", Consumer: "me"})
	must(t, err)
	must(t, r.Open(ctx))
	var left []string
	for len(left) < 9 {
		must(t, r.Read(ctx, 4, 0, &b))
		left = append(left, ids(b.Entries)...)
	}
	if !slices.Equal(left, all[291:]) {
		t.Fatalf("got %v, want %v", left, all[291:])
	}
	n, err = r.Ack(ctx, left)
	if n != 9 || err != nil {
		t.Fatal(n, err)
	}
	must(t, r.Close(ctx))
	if c := rdb.XInfoConsumers(ctx, key, "g").Val(); len(c) != 0 {
		t.Fatalf("consumers left: %+v", c)
	}
}

func TestBasics(t *testing.T) {
	s, err := embedded.Start()
	must(t, err)
	defer s.Close()
	c := s.Client()
	defer c.Close()
	basics(t, c, "k")
	rdb, describe, closeAll, err := embedded.Open(context.Background(), s.URL())
	must(t, err)
	if describe == "" || rdb.Ping(context.Background()).Err() != nil {
		t.Fatal(describe)
	}
	must(t, closeAll())
}

func TestBasicsRedis(t *testing.T) { basics(t, redistest.Shared(t).Client(t), redistest.Key(t)) }

func TestBasicsInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := embedded.Pipe()
		defer s.Close()
		c := s.Client()
		defer c.Close()
		basics(t, c, "k")
	})
}

// Ten virtual minutes of renewing leases pass in no time.
func TestLeasesInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := embedded.Pipe()
		defer s.Close()
		c := s.Client()
		defer c.Close()
		ctx := context.Background()
		must(t, c.XAdd(ctx, redistest.Entry("k", "a", "b")).Err())
		r, err := reader.NewGroup(c, reader.GroupConfig{Key: "k", Group: "g"})
		must(t, err)
		must(t, r.Open(ctx))
		var b redisio.Batch
		must(t, r.Read(ctx, 1, 0, &b))
		id := b.Entries[0].ID
		read, cancel := context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
		if err := r.Read(read, 1, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v: its own entry came again: %v", err, ids(b.Entries))
		}
		p, err := c.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: "k", Group: "g", Start: "-", End: "+", Count: 1}).
			Result()
		if err != nil || p[0].RetryCount != 1 || p[0].Idle > 15*time.Second {
			t.Fatalf("%+v, %v", p, err)
		}
		if n, err := r.Ack(ctx, []string{id}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		must(t, r.Close(ctx))
	})
}

// A waiting tail ends with its context, before the server answers. Nothing is lost with the reply.
func TestTailEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := embedded.Pipe()
		defer s.Close()
		c := s.Client()
		defer c.Close()
		ctx := context.Background()
		r, err := reader.NewTail(c, reader.TailConfig{Key: "k", Block: 2 * time.Second})
		must(t, err)
		must(t, r.Open(ctx))
		const patience = 300 * time.Millisecond
		short, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var b redisio.Batch
		began := time.Now()
		if err := r.Read(short, 1, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("ended after %v", took)
		}
		id := c.XAdd(ctx, redistest.Entry("k", "a", "b")).Val()
		must(t, r.Read(ctx, 1, 0, &b))
		if got := ids(b.Entries); !slices.Equal(got, []string{id}) {
			t.Errorf("then read %v", got)
		}
		must(t, r.Close(ctx))
	})
}

func TestOpen(t *testing.T) {
	ctx := context.Background()
	for name, path := range map[string]string{"a private redis-server": os.Getenv("PATH"), "in-process": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", path)
			rdb, describe, closeAll, err := embedded.Open(ctx, "")
			must(t, err)
			if !strings.Contains(describe, name) {
				t.Error(describe)
			}
			must(t, rdb.Set(ctx, "a", "b", 0).Err())
			must(t, closeAll())
			if err := rdb.Ping(ctx).Err(); err == nil {
				t.Error("not closed")
			}
		})
	}
	if _, _, _, err := embedded.Open(ctx, "redis://127.0.0.1:1"); err == nil {
		t.Error("no error")
	}
}

// Only the program that opened a private server can use it.
func TestFault_S8_PrivateServersHaveAPassword(t *testing.T) {
	ctx := context.Background()
	for name, path := range map[string]string{"redis-server": os.Getenv("PATH"), "in-process": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", path)
			rdb, describe, closeAll, err := embedded.Open(ctx, "")
			must(t, err)
			defer func() { must(t, closeAll()) }()
			own := rdb.(*redis.Client).Options()
			if own.Password == "" || name == "redis-server" && !strings.Contains(describe, own.Password) {
				t.Errorf("password %q, told: %s", own.Password, describe)
			}
			stranger := redis.NewClient(&redis.Options{Addr: own.Addr, DisableIdentity: true})
			defer stranger.Close()
			if err := stranger.Set(ctx, "a", "b", 0).Err(); err == nil || !redis.HasErrorPrefix(err, "NOAUTH") {
				t.Errorf("a stranger's SET: %v", err)
			}
		})
	}
}

// TestTrimsBehindAGroupThatHasReadNothing: the in-process server stores a group's start as it was
// given, which is not the ID of an entry.
func TestTrimsBehindAGroupThatHasReadNothing(t *testing.T) {
	s, err := embedded.Start()
	must(t, err)
	defer s.Close()
	c := s.Client()
	defer c.Close()
	ctx := context.Background()
	must(t, c.XGroupCreateMkStream(ctx, "k", "g", "0").Err())
	w, err := writer.New(c, writer.Config{Key: "k", MaxLen: 10, OnEvent: func(e redisio.Event) {
		if e.Kind == redisio.EventTrimFailed {
			t.Error(e.Err)
		}
	}})
	must(t, err)
	must(t, w.Open(ctx))
	out := make([]redisio.Outgoing, 50)
	for i := range out {
		out[i].Fields = redisio.Fields{{Name: "data", Value: []byte("x")}}
	}
	must(t, w.Write(ctx, out, make([]redisio.Result, len(out))))
	must(t, w.Close(ctx))
	if n := c.XLen(ctx, "k").Val(); n != 50 {
		t.Errorf("%d entries are left, and none was read", n)
	}
}

// Keys expire by themselves, such as the counters of a rate limit.
func TestKeysExpire(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start()
	must(t, err)
	defer s.Close()
	rdb := s.Client()
	defer rdb.Close()
	must(t, rdb.Set(t.Context(), "short", "v", 200*time.Millisecond).Err())
	must(t, rdb.Set(t.Context(), "long", "v", 2*redistest.Patience).Err())
	redistest.Soon(t, "the key expires", func() bool { return rdb.Exists(t.Context(), "short").Val() == 0 })
	if rdb.Exists(t.Context(), "long").Val() != 1 {
		t.Error("the other key has expired, too")
	}
}
