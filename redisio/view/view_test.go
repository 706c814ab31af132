package view

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func newView(t testing.TB, rdb redis.UniversalClient, change ...func(*Config)) *View {
	t.Helper()
	space := strings.ReplaceAll(redistest.Key(t), ":", ".")
	cfg := Config{Space: space, Name: "v", Log: func(p int) string { return fmt.Sprintf("{%s:%d}log", space, p) }}
	for _, f := range change {
		f(&cfg)
	}
	v, err := New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = redistest.Shared(t).Client(t).Pipelined(rig.Ctx(t), func(pipe redis.Pipeliner) error {
		for n := range 50 { // the log; another view may have it already
			pipe.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: cfg.Log(0), ID: id(n).String(), Values: []string{"data", ""}})
		}
		return nil
	})
	return v
}

func id(n int) redisio.ID { return redisio.ID{Ms: uint64(n), Seq: 1} }

// claimed begins a build and claims its first partition.
func claimed(t testing.TB, v *View, owner string) Build {
	t.Helper()
	b, err := v.Rebuild(rig.Ctx(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := v.Claim(rig.Ctx(t), b, 0, owner); err != nil || c.Busy > 0 || c.Position != id(0) {
		t.Fatalf("claim %+v, %v", c, err)
	}
	return b
}

func TestCommit(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	v := newView(t, rdb, func(c *Config) { c.Lease = time.Hour })
	b := claimed(t, v, "me")
	change := func() *Tx {
		tx := v.Of(b).Begin(0)
		tx.HIncrBy("h", "n", 1)
		return tx
	}
	if err := v.Commit(ctx, change(), "me", id(0), id(5), 3); err != nil {
		t.Fatal(err)
	}
	for _, from := range []redisio.ID{id(0), id(4), id(6)} {
		if err := v.Commit(ctx, change(), "me", from, id(9), 1); !errors.Is(err, ErrMoved) {
			t.Errorf("from %v: %v", from, err)
		}
	}
	if err := v.Commit(ctx, change(), "another", id(5), id(9), 1); err != nil { // the position is what counts
		t.Error(err)
	}
	if c, err := v.Claim(ctx, b, 0, "another"); err != nil || c.Busy <= 0 {
		t.Errorf("claim %+v, %v", c, err)
	}
	if err := v.Release(ctx, b, 0, "me"); err != nil {
		t.Error(err)
	}
	if c, err := v.Claim(ctx, b, 0, "another"); err != nil || c.Busy > 0 || c.Position != id(9) || c.Entries != 4 {
		t.Errorf("claim %+v, %v", c, err)
	}
	if n := rdb.HGet(ctx, v.Of(b).Key(0, "h"), "n").Val(); n != "2" {
		t.Errorf("n is %s", n)
	}
}

// Of many commits from the same position one is written, whatever happens to its reply.
func TestCommitsRace(t *testing.T) {
	srv := redistest.Shared(t)
	proxy := redistest.StartProxy(t, srv.Addr())
	opt := srv.Options()
	opt.Addr, opt.MaxRetries = proxy.Addr(), -1
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	ctx := rig.Ctx(t)
	v := newView(t, rdb, func(c *Config) { c.Patience = 30 * time.Second })
	b := claimed(t, v, "me")
	proxy.CutRandomly(3, 0.2, redistest.CutRequest, redistest.CutReply, redistest.CutHalfReply)
	for step := range 15 {
		var won atomic.Int64
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				tx := v.Of(b).Begin(0)
				tx.HIncrBy("h", "n", 1)
				tx.RPush("l", fmt.Sprint(step), 0)
				switch err := v.Commit(ctx, tx, fmt.Sprint(w), id(step), id(step+1), 1); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ErrMoved):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("step %d was committed %d times", step, won.Load())
		}
	}
	proxy.CutRandomly(3, 0)
	keys := v.Of(b)
	if n, l := rdb.HGet(ctx, keys.Key(0, "h"), "n").Val(), rdb.LLen(ctx, keys.Key(0, "l")).Val(); n != "15" || l != 15 {
		t.Errorf("n is %s, and the list has %d elements", n, l)
	}
}

// Random changes in transactions have the same effect as the commands one by one.
func TestTxEqualsCommands(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	v := newView(t, rdb)
	b := claimed(t, v, "me")
	model := func(name string) string { return "{" + v.cfg.Space + "}model:" + name }
	rng := rand.New(rand.NewPCG(1, 2))
	names := map[string][]string{"hash": {"h1", "h2"}, "list": {"l1"}, "zset": {"z1", "z2"}}
	for step := range 40 {
		tx := v.Of(b).Begin(0)
		for range rng.IntN(12) {
			h, z, f := names["hash"][rng.IntN(2)], names["zset"][rng.IntN(2)], strconv.Itoa(rng.IntN(4))
			n := rng.Int64N(100) - 50
			switch rng.IntN(9) {
			case 0, 1:
				tx.HSet(h, f, fmt.Sprint(n))
				rdb.HSet(ctx, model(h), f, n)
			case 2, 3:
				tx.HIncrBy(h, f, n)
				rdb.HIncrBy(ctx, model(h), f, n)
			case 4:
				tx.HDel(h, f)
				rdb.HDel(ctx, model(h), f)
			case 5:
				tx.RPush("l1", f, 5)
				rdb.RPush(ctx, model("l1"), f)
				rdb.LTrim(ctx, model("l1"), -5, -1)
			case 6:
				tx.ZAdd(z, f, float64(n)/3)
				rdb.ZAdd(ctx, model(z), redis.Z{Score: float64(n) / 3, Member: f})
			case 7:
				tx.ZRem(z, f)
				rdb.ZRem(ctx, model(z), f)
			case 8:
				if rng.IntN(4) == 0 {
					tx.Del(h)
					rdb.Del(ctx, model(h))
				}
			}
			want, err := rdb.HGet(ctx, model(h), f).Result()
			if got, ok, failed := tx.HGet(ctx, h, f); failed != nil || ok != (err == nil) || got != want {
				t.Fatalf("step %d: HGet(%s, %s) returns %q, %v, %v; want %q", step, h, f, got, ok, failed, want)
			}
		}
		if err := v.Commit(ctx, tx, "me", id(step), id(step+1), 1); err != nil {
			t.Fatal(err)
		}
	}
	var have []string
	for _, name := range []string{"h1", "h2", "l1", "z1", "z2"} {
		key := v.Of(b).Key(0, name)
		if diff := cmp.Diff(dump(ctx, rdb, model(name)), dump(ctx, rdb, key)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if rdb.Exists(ctx, key).Val() == 1 {
			have = append(have, key)
		}
	}
	tracked := rdb.SMembers(ctx, v.keys(b, 0)).Val()
	slices.Sort(tracked)
	if !slices.Equal(tracked, have) {
		t.Errorf("the tracked keys are %v, want %v", tracked, have)
	}
}

func dump(ctx context.Context, rdb redis.UniversalClient, key string) any {
	switch rdb.Type(ctx, key).Val() {
	case "hash":
		return rdb.HGetAll(ctx, key).Val()
	case "list":
		return rdb.LRange(ctx, key, 0, -1).Val()
	case "zset":
		return rdb.ZRangeWithScores(ctx, key, 0, -1).Val()
	}
	return nil
}

// A change that does not fit leaves all data as it is.
func TestWrongChanges(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	v := newView(t, rdb)
	b := claimed(t, v, "me")
	first := v.Of(b).Begin(0)
	first.HSet("h", "text", "x")
	first.HSet("h", "large", "99999999999999999999")
	first.RPush("l", "x", 0)
	if err := v.Commit(ctx, first, "me", id(0), id(1), 1); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Tx){
		"a list as a hash":      func(tx *Tx) { tx.HSet("l", "f", "v") },
		"a hash as a set":       func(tx *Tx) { tx.ZAdd("h", "m", 1) },
		"adding to a text":      func(tx *Tx) { tx.HIncrBy("h", "text", 1) },
		"adding too much":       func(tx *Tx) { tx.HIncrBy("n", "f", 9e18) },
		"overflow of a sum":     func(tx *Tx) { tx.HSet("n", "f", "9223372036854775807"); tx.HIncrBy("n", "f", 1) },
		"overflow of a Tx":      func(tx *Tx) { tx.HIncrBy("n", "f", 9e15); tx.HIncrBy("n", "f", 9e15) },
		"adding to a large one": func(tx *Tx) { tx.HIncrBy("h", "large", 1) },
		"two kinds in one":      func(tx *Tx) { tx.RPush("x", "v", 0); tx.HSet("x", "f", "v") },
		"adding to a new text":  func(tx *Tx) { tx.HSet("x", "f", "v"); tx.HIncrBy("x", "f", 1) },
	} {
		tx := v.Of(b).Begin(0)
		tx.HSet("a", "f", "v")
		change(tx)
		tx.HSet("z", "f", "v")
		var wrong *KeyError
		if err := v.Commit(ctx, tx, "me", id(1), id(2), 1); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := rdb.Exists(ctx, v.Of(b).Key(0, "a"), v.Of(b).Key(0, "z"), v.Of(b).Key(0, "x")).Val(); n != 0 {
		t.Errorf("%d keys were written", n)
	}
	tx := v.Of(b).Begin(0)
	if _, err := tx.HGetInt(ctx, "h", "text"); err == nil {
		t.Error("a text is an integer")
	}
	tx.Del("l") // a key may change its kind once it is deleted
	tx.HSet("l", "f", "v")
	if err := v.Commit(ctx, tx, "me", id(1), id(2), 1); err != nil {
		t.Error(err)
	}
}

func TestBuilds(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	v := newView(t, rdb, func(c *Config) { c.Partitions, c.Grace = 2, time.Millisecond })
	if _, err := v.Live(ctx); !errors.Is(err, ErrNoBuild) {
		t.Errorf("%v", err)
	}
	begin := func(version int, want Build) {
		t.Helper()
		if b, err := v.Begin(ctx, version); b != want || err != nil {
			t.Errorf("Begin(%d) returns %q, %v, want %q", version, b, err, want)
		}
	}
	begin(2, "2.1")
	begin(2, "")
	begin(1, "") // an older program
	begin(3, "3.2")
	begin(3, "")
	begin(4, "4.3") // replaces 3.2
	if _, err := v.Rebuild(ctx, 4); !errors.Is(err, ErrBuilding) {
		t.Errorf("%v", err)
	}
	if err := v.Switch(ctx, "3.2"); !errors.Is(err, ErrNoBuild) {
		t.Errorf("%v", err)
	}
	for range 2 { // a lost reply
		if err := v.Switch(ctx, "4.3"); err != nil {
			t.Error(err)
		}
	}
	if k, err := v.Live(ctx); k.Build != "4.3" || err != nil || k.Build.Version() != 4 {
		t.Errorf("%v, %v", k, err)
	}
	redistest.Soon(t, "both old builds are dropped", func() bool {
		if _, err := v.Drop(ctx); err != nil {
			t.Fatal(err)
		}
		b, err := v.Builds(ctx)
		return err == nil && len(b.Old) == 0
	})
	if _, err := v.Claim(ctx, "2.1", 1, "late"); !errors.Is(err, ErrDropped) {
		t.Errorf("%v", err)
	}
	if _, err := v.Progress(ctx, ""); !errors.Is(err, ErrNoBuild) {
		t.Errorf("%v", err)
	}
	if _, err := v.Part(ctx, "", 1); !errors.Is(err, ErrNoBuild) {
		t.Errorf("%v", err)
	}
}

// A lost reply to a rebuild, to a switch or to giving up hides nothing.
func TestLostRepliesOfBuilds(t *testing.T) {
	srv := redistest.Shared(t)
	proxy := redistest.StartProxy(t, srv.Addr())
	ctx := rig.Ctx(t)
	v := newView(t, proxy.Client(t))
	for _, want := range []Build{"1.1", "1.2"} {
		proxy.Cut(redistest.CutReply, "EVAL", 1)
		if b, err := v.Rebuild(ctx, 1); b != want || err != nil {
			t.Errorf("Rebuild returns %q, %v, want %q", b, err, want)
		}
	}
	proxy.Cut(redistest.CutReply, "EVAL", 1)
	if err := v.Abandon(ctx, "1.2"); err != nil {
		t.Error(err)
	}
}

func TestPause(t *testing.T) {
	ctx, v := rig.Ctx(t), newView(t, redistest.Shared(t).Client(t))
	b := claimed(t, v, "me")
	change := func() *Tx {
		tx := v.Of(b).Begin(0)
		tx.HIncrBy("h", "n", 1)
		return tx
	}
	if err := v.Commit(ctx, change(), "me", id(0), id(1), 1); err != nil {
		t.Fatal(err)
	}
	if at, err := v.Pause(ctx, b, 0, time.Hour); at != id(1) || err != nil {
		t.Errorf("position %v, %v", at, err)
	}
	if err := v.Commit(ctx, change(), "me", id(1), id(2), 1); !errors.Is(err, ErrPaused) {
		t.Error(err)
	}
	if at, err := v.Pause(ctx, b, 0, 0); at != id(1) || err != nil {
		t.Errorf("position %v, %v", at, err)
	}
	if err := v.Commit(ctx, change(), "me", id(1), id(2), 1); err != nil {
		t.Error(err)
	}
}

// Events that a failover has lost change nothing: the log lacks them.
func TestCommitOfLostEvents(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	v := newView(t, rdb)
	b := claimed(t, v, "me")
	rdb.XDel(ctx, v.cfg.Log(0), id(5).String())
	tx := v.Of(b).Begin(0)
	tx.HSet("h", "f", "v")
	if err := v.Commit(ctx, tx, "me", id(0), id(5), 5); !errors.Is(err, ErrMoved) {
		t.Error(err)
	}
}

func TestViewMistakes(t *testing.T) {
	if _, err := New(nil, Config{Space: "a:b", Partitions: -1, Lease: 1, Grace: -1}); err == nil ||
		strings.Count(err.Error(), "\n") < 5 {
		t.Errorf("%v", err)
	}
}

// The least rights suffice.
func TestAccess(t *testing.T) {
	srv := redistest.Shared(t)
	admin := newView(t, srv.Client(t))
	v := newView(t, srv.User(t, redistest.Key(t), admin.cfg.Access().Rules()...),
		func(c *Config) { c.Space, c.Log, c.Grace = admin.cfg.Space, admin.cfg.Log, time.Millisecond })
	ctx := rig.Ctx(t)
	b := claimed(t, v, "me")
	tx := v.Of(b).Begin(0)
	tx.HSet("h", "f", "v")
	tx.HIncrBy("h", "n", 1)
	tx.RPush("l", "x", 3)
	tx.ZAdd("z", "m", 1)
	tx.ZRem("z", "o")
	tx.HDel("h", "g")
	tx.Del("d")
	if _, _, err := tx.HGet(ctx, "h", "x"); err != nil {
		t.Error(err)
	}
	if err := v.Commit(ctx, tx, "me", id(0), id(1), 1); err != nil {
		t.Error(err)
	}
	next, err := v.Rebuild(ctx, 1)
	if err = errors.Join(err, v.Switch(ctx, next), v.Release(ctx, b, 0, "me")); err != nil {
		t.Error(err)
	}
	if _, err := v.Progress(ctx, next); err != nil {
		t.Error(err)
	}
	redistest.Soon(t, "it is dropped", func() bool {
		n, err := v.Drop(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
}
