package redisio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/schedules"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// guarded is a server of one test, and a user with exactly the rights that a component declares.
type guarded struct {
	admin *redis.Client
	rdb   *redis.Client
	key   string
}

// guard runs life as a user with only these rights. It fails if anything is refused except what is
// known to be harmless, or if a right is never used. before runs with all rights.
func guard(
	t *testing.T,
	s *redistest.Server,
	a redisio.Access,
	key string,
	before func(*guarded),
	life func(*guarded),
) {
	t.Helper()
	g := &guarded{admin: s.Client(t), key: key}
	if before != nil {
		before(g)
	}
	o, err := s.NewUser(rig.Ctx(t), strings.ReplaceAll(t.Name(), "/", "-"), a.Rules()...)
	if err != nil {
		t.Fatal(err)
	}
	o.DisableIdentity = true
	g.rdb = redis.NewClient(o)
	t.Cleanup(func() { _ = g.rdb.Close() })
	for _, args := range [][]any{{"acl", "log", "reset"}, {"config", "resetstat"}} {
		if err := g.admin.Do(rig.Ctx(t), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	life(g)
	for _, d := range g.denied(t, a) {
		t.Errorf("refused: %s", d)
	}
	if unused := g.unused(t, a); len(unused) > 0 {
		t.Errorf("nothing needs %q", unused)
	}
}

// unmissed are commands that may be refused without harm: INFO, the COMMAND of a cluster client,
// and the commands with which writers probe newer servers.
var unmissed = []string{
	"command",
	"info",
	"xcfgset",
	"del",
	"eval",
	"pexpire",
	"xack",
	"xgroup|create",
	"xgroup|destroy",
	"xlen",
	"xrange",
	"xreadgroup",
	"xtrim",
}

// denied returns the commands and keys that were refused, except the harmless ones.
func (g *guarded) denied(t *testing.T, a redisio.Access) (all []string) {
	t.Helper()
	log, err := g.admin.ACLLog(rig.Ctx(t), 1000).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range log {
		needed := e.Reason == "command" && slices.Contains(a.Commands, e.Object)
		if needed || !slices.Contains(unmissed, e.Object) && !strings.HasPrefix(e.Object, "redisio:probe:") {
			all = append(all, fmt.Sprintf("%s %s (%s)", e.Reason, e.Object, e.Context))
		}
	}
	return all
}

// unused returns the commands that were not called. Only redisio.Connect calls PING.
func (g *guarded) unused(t *testing.T, a redisio.Access) []string {
	t.Helper()
	stats, err := g.admin.Info(rig.Ctx(t), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(slices.Clone(a.Commands), func(name string) bool {
		_, rest, ok := strings.Cut(stats, "cmdstat_"+name+":calls=")
		return name == "ping" || ok && !strings.HasPrefix(rest, "0,") // those that were rejected are counted elsewhere
	})
}

func TestAccessOfAGroup(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	// Rules can't contain spaces, quotes and globs, or interpret them.
	for _, key := range []string{"orders", `the "orders" [*]?\()`} {
		for name, change := range map[string]func(*reader.GroupConfig){
			"default":  func(*reader.GroupConfig) {},
			"no dead":  func(*reader.GroupConfig) {},
			"earliest": func(c *reader.GroupConfig) { c.OnLostGroup = reader.LostGroupEarliest },
			"quiet":    func(c *reader.GroupConfig) { c.DelayedEvery, c.ReapAfter = -1, -1 },
			"deletes":  func(c *reader.GroupConfig) { c.DeleteSettled = true },
			"no ack":   func(c *reader.GroupConfig) { c.AtMostOnce, c.DelayedEvery = true, -1 },
		} {
			t.Run(fmt.Sprint(name, " of ", len(key)), func(t *testing.T) {
				s.FlushAll(t)
				cfg := reader.GroupConfig{
					Key:   key,
					Group: "g",
					Tuning: reader.Tuning{
						Block:        10 * time.Millisecond,
						Lease:        300 * time.Millisecond,
						ReclaimEvery: 30 * time.Millisecond,
						ReapAfter:    time.Millisecond,
						DelayedEvery: 10 * time.Millisecond,
					},
				}
				change(&cfg)
				var dead []string
				if name != "no dead" && name != "no ack" {
					dead = []string{key + ":dead"}
				}
				guard(t, s, cfg.Access(dead...), key, func(g *guarded) {
					rig.Add(t, g.admin, key, 3)
					large := make([]string, 2*4000)
					for i := range large {
						large[i] = fmt.Sprint(i)
					}
					if err := g.admin.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, Values: large}).Err(); err != nil {
						t.Fatal(err)
					}
					schedules.Schedule(
						t,
						schedules.New(t, g.admin, schedule.Config{Key: key}),
						past("a"),
						future("b"),
					)
				}, func(g *guarded) { groupLife(t, g, cfg, dead) })
			})
		}
	}
}

// groupLife does with a group everything that a source may do.
func groupLife(t *testing.T, g *guarded, cfg reader.GroupConfig, dead []string) {
	r, l := readers.Open(t, g.rdb, cfg)
	got := rig.Read(t, r, 4)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if !cfg.AtMostOnce {
		if n, err := r.Ack(rig.Ctx(t), rig.IDs(got[:1])); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		must(r.Nack(rig.Ctx(t), rig.IDs(got[1:2]), 0))
		if again := rig.Read(t, r, 1); again[0].ID == got[1].ID && again[0].Deliveries != 2 {
			t.Errorf("delivery %d", again[0].Deliveries)
		}
		must(r.Nack(rig.Ctx(t), rig.IDs(got[1:2]), time.Minute))
	}
	if dead != nil {
		must(
			r.Dead(
				rig.Ctx(t),
				dead[0],
				[]reader.DeadLetter{
					{ID: got[2].ID},
					{ID: got[3].ID, Extra: redisio.Fields{{Name: "dead:id", Value: []byte(got[3].ID)}}},
				},
			),
		)
		if n := g.admin.XLen(rig.Ctx(t), dead[0]).Val(); n != 2 {
			t.Errorf("%d dead letters", n)
		}
	}
	if _, err := r.Info(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	must(g.admin.XGroupDestroy(rig.Ctx(t), cfg.Key, "g").Err())
	readUntil(t, r, "the group is there again", func() bool { return l.Times(redisio.EventGroupRecreated) > 0 })
	a := cfg.Access(dead...)
	readUntil(t, r, "all rights were made use of", func() bool {
		left := slices.DeleteFunc(g.unused(t, a), func(c string) bool { // what Close needs
			return c == "xgroup|delconsumer" || cfg.AtMostOnce && (c == "eval" || c == "xpending")
		})
		return len(left) == 0 || len(g.denied(t, a)) > 0
	})
	must(r.Close(rig.Ctx(t)))
	brief, _ := readers.Open(t, g.rdb, cfg)
	must(brief.Close(rig.Ctx(t))) // nothing is pending for it: it leaves the group
	if n := l.Times(redisio.EventMoveFailed); n > 0 {
		t.Error("it could not move what was scheduled")
	}
}

// readUntil reads until a condition is true.
func readUntil(t *testing.T, r *reader.Group, what string, is func() bool) {
	t.Helper()
	c, cancel := context.WithCancel(rig.Ctx(t))
	var all sync.WaitGroup
	defer func() { cancel(); all.Wait() }()
	all.Go(func() {
		for {
			var b redisio.Batch
			if err := r.Read(c, 10, 0, &b); c.Err() != nil {
				return
			} else if err != nil {
				t.Error(err)
				return
			}
		}
	})
	redistest.Soon(t, what, is)
}

func TestAccessOfAWriter(t *testing.T) {
	s := redistest.Start(t, redistest.Args("--appendonly", "yes"))
	hasAOF := s.Client(t).Do(rig.Ctx(t), "waitaof", 0, 0, 1).Err() == nil
	for name, cfg := range map[string]writer.Config{
		"plain":    {},
		"no key":   {},
		"length":   {MaxLen: 2, Tuning: writer.Tuning{Exact: true}},
		"age":      {Tuning: writer.Tuning{MaxAge: time.Hour, Exact: true}},
		"drop":     {MaxLen: 2, Tuning: writer.Tuning{Exact: true, DropUnread: true}},
		"cap":      {Tuning: writer.Tuning{HardCap: 5}},
		"cap drop": {Tuning: writer.Tuning{HardCap: 2, WhenFull: writer.FullDrop}},
		"bytes":    {Tuning: writer.Tuning{MaxBytes: 64 << 10, Exact: true, WhenFull: writer.FullDrop}, MaxLen: 2},
		"mailbox":  {Tuning: writer.Tuning{OnlyExisting: true, MaxBytes: 64 << 10}, MaxLen: 100},
		"dedupe":   {DedupeWindow: time.Minute},
		"replicas": {Tuning: writer.Tuning{Durability: writer.Durability{Replicas: 1, Timeout: time.Millisecond}}},
		"both": {Tuning: writer.Tuning{
			Durability: writer.Durability{Replicas: 1, Fsync: true, Timeout: 10 * time.Second},
		}},
		"all": {MaxLen: 50, Tuning: writer.Tuning{MaxAge: time.Hour, Exact: true, HardCap: 100}, DedupeWindow: time.Minute},
	} {
		if cfg.Durability.Fsync && !hasAOF {
			continue // a server that doesn't know WAITAOF takes no rule that allows it; writers don't open there
		}
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			entries := []redisio.Outgoing{
				{Fields: redisio.Fields{{Name: "n", Value: []byte("1")}}},
				{Fields: redisio.Fields{{Name: "n", Value: []byte("2")}}},
				{ID: "1-1", Fields: redisio.Fields{{Name: "n", Value: []byte("3")}}},
			}
			var named []string
			if name == "no key" {
				named = []string{key}
				for i := range entries {
					entries[i].Key = key
				}
			} else {
				cfg.Key = key
			}
			if cfg.OnlyExisting { // over MaxBytes
				for i := range entries {
					entries[i].Fields[0].Value = make([]byte, 40<<10)
				}
			}
			if cfg.DedupeWindow > 0 {
				for i := range entries {
					entries[i].DedupeID = fmt.Sprint("id", i)
				}
			}
			guard(t, s, cfg.Access(named...), key, func(g *guarded) {
				rig.Add(t, g.admin, key, 3)
				g.admin.XGroupCreate(rig.Ctx(t), key, "g", "0")
				g.admin.XReadGroup(
					rig.Ctx(t),
					&redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: 1},
				)
			}, func(g *guarded) {
				w, err := writer.New(g.rdb, cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Open(rig.Ctx(t)); err != nil {
					t.Fatal(err)
				}
				defer w.Close(rig.Ctx(t))
				results := make([]redisio.Result, 3)
				_ = w.Write(rig.Ctx(t), entries, results)
				for i, r := range results {
					if written := r.ID != ""; written != (i < 2) { // an ID too small can't be
						t.Errorf("entry %d: %+v", i, r)
					}
				}
			})
		})
	}
}

func TestAccessOfSchedulersAndTickers(t *testing.T) {
	s := redistest.Start(t)
	t.Run("scheduler", func(t *testing.T) {
		cfg := schedule.Config{Key: "orders"}
		guard(t, s, cfg.Access(), cfg.Key, nil, func(g *guarded) {
			sch := schedules.New(t, g.rdb, cfg)
			schedules.Schedule(t, sch, past("a"), future("b"), future("c"))
			if n := schedules.MoveAll(t, sch); n != 1 {
				t.Errorf("%d moved", n)
			}
			info, err := sch.Info(rig.Ctx(t))
			if err != nil || info.Count != 2 {
				t.Error(info, err)
			}
			if list, err := sch.List(rig.Ctx(t), 0, 9); err != nil || len(list) != 2 {
				t.Error(list, err)
			}
			if n, err := sch.Cancel(rig.Ctx(t), "b"); n != 1 || err != nil {
				t.Error(n, err)
			}
		})
	})
	t.Run("ticker", func(t *testing.T) {
		cfg := schedule.TickerConfig{
			Key:    "ticks",
			Next:   func(at time.Time) time.Time { return at.Truncate(time.Millisecond).Add(5 * time.Millisecond) },
			Fields: func(time.Time) redisio.Fields { return redisio.Fields{{Name: "n", Value: []byte("1")}} },
		}
		guard(t, s, cfg.Access(), cfg.Key, nil, func(g *guarded) {
			tick, err := schedule.NewTicker(g.rdb, cfg)
			if err != nil {
				t.Fatal(err)
			}
			k := tick.Keep(nil)
			redistest.Soon(t, "three ticks", func() bool { return g.admin.XLen(rig.Ctx(t), cfg.Key).Val() >= 3 })
			if err := k.Stop(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("dedupe", func(t *testing.T) {
		cfg := dedupe.Config{Prefix: "seen"}
		guard(t, s, cfg.Access(), cfg.Prefix, nil, func(g *guarded) {
			d := newStore(t, g.rdb, cfg)
			for _, token := range []string{"1\na", "1\nb", "2\na"} {
				if _, err := d.Claim(rig.Ctx(t), []string{"k"}, []string{token}); err != nil {
					t.Error(err)
				}
			}
			if err := errors.Join(d.Release(rig.Ctx(t), []string{"k"}, []string{"1\nb"}),
				d.Done(rig.Ctx(t), []string{"k"}, []string{"1\na"})); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestAccessOfReadersWithoutGroup(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	feed := func(g *guarded) { rig.Add(t, g.admin, g.key, 3) }
	t.Run("tail", func(t *testing.T) {
		cfg := reader.TailConfig{Key: "tailed", Block: 5 * time.Millisecond}
		guard(t, s, cfg.Access(), cfg.Key, feed, func(g *guarded) {
			r, err := reader.NewTail(g.rdb, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Open(rig.Ctx(t)); err != nil {
				t.Fatal(err)
			}
			defer r.Close(rig.Ctx(t))
			rig.Read(t, r, 3)
			redistest.Soon(t, "all rights were made use of", func() bool {
				c, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				var b redisio.Batch
				if err := r.Read(c, 1, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				return len(g.unused(t, cfg.Access())) == 0
			})
		})
	})
	t.Run("range", func(t *testing.T) {
		cfg := reader.RangeConfig{Key: "ranged"}
		guard(t, s, cfg.Access(), cfg.Key, feed, func(g *guarded) {
			r, err := reader.NewRange(g.rdb, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Open(rig.Ctx(t)); err != nil {
				t.Fatal(err)
			}
			var b redisio.Batch
			if err := r.Read(rig.Ctx(t), 9, 0, &b); err != nil || len(b.Entries) != 3 {
				t.Error(err)
			}
			if err := r.Read(rig.Ctx(t), 9, 0, &b); err != io.EOF {
				t.Error(err)
			}
		})
	})
}

func TestAccessAdds(t *testing.T) {
	in, out := reader.TailConfig{Key: "a"}.Access(), writer.Config{Key: "b"}.Access()
	want := "clearselectors resetkeys resetchannels -@all " +
		"%R~a %W~b +ping +xadd +xinfo|stream +xlen +xread +xrevrange"
	if got := in.And(out).String(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	both := in.And(out, reader.RangeConfig{Key: "b"}.Access(), writer.Config{Key: "a", MaxLen: 5}.Access())
	if diff := cmp.Diff([][]string{{"b"}, {"b"}, {"a"}}, [][]string{both.Reads, both.Appends, both.Writes}); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	keys := []string{"a*"}
	_ = reader.GroupConfig{Key: "k"}.Access(keys...)
	if keys[0] != "a*" {
		t.Errorf("the caller's slice has become %q", keys)
	}
}

// On a cluster each node knows the user, and the client asks for the slots.
func TestAccessOfACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 0)
	key := "orders"
	dead := "{orders}:dead"
	group, output := reader.GroupConfig{
		Key:    key,
		Group:  "g",
		Tuning: reader.Tuning{Block: 10 * time.Millisecond},
	}, writer.Config{
		Key:          key,
		MaxLen:       100,
		DedupeWindow: time.Minute,
	}
	a := redisio.AccessToCluster().And(group.Access(dead), output.Access())
	for _, s := range c.Nodes {
		if _, err := s.NewUser(rig.Ctx(t), "guarded", a.Rules()...); err != nil {
			t.Fatal(err)
		}
		if err := s.Client(t).Do(rig.Ctx(t), "config", "resetstat").Err(); err != nil {
			t.Fatal(err)
		}
	}
	o, err := c.Nodes[0].NewUser(rig.Ctx(t), "guarded", a.Rules()...)
	if err != nil {
		t.Fatal(err)
	}
	co := c.Options()
	co.Username, co.Password, co.DisableIdentity = o.Username, o.Password, true
	rdb := redis.NewClusterClient(co)
	defer rdb.Close()
	w, err := writer.New(rdb, output)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	defer w.Close(rig.Ctx(t))
	r, _ := readers.Open(t, rdb, group)
	write := func(id string) {
		t.Helper()
		var result [1]redisio.Result
		if err := w.Write(rig.Ctx(t), []redisio.Outgoing{{DedupeID: id, Fields: redisio.Fields{{Name: "n", Value: []byte(id)}}}}, result[:]); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	got := rig.Read(t, r, 1)
	slot, err := c.Slot(rig.Ctx(t), key)
	if err != nil {
		t.Fatal(err)
	}
	from, err := c.Owner(rig.Ctx(t), slot)
	if err != nil {
		t.Fatal(err)
	}
	to := c.Nodes[0]
	if to.Addr() == from.Addr() {
		to = c.Nodes[1]
	}
	if err := c.MoveSlot(rig.Ctx(t), slot, to, func() { // what is not there yet is to be asked for at the new node
		other, err := writer.New(rdb, writer.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Open(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
		defer other.Close(rig.Ctx(t))
		var result [1]redisio.Result
		if err := other.Write(rig.Ctx(t), []redisio.Outgoing{{Key: dead, Fields: redisio.Fields{{Name: "n", Value: []byte("1")}}}}, result[:]); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	write("2")
	if err := r.Dead(rig.Ctx(t), dead, []reader.DeadLetter{{ID: got[0].ID}}); err != nil {
		t.Fatal(err)
	}
	rig.Read(t, r, 1)
	used := make(map[string]bool)
	for _, s := range c.Nodes {
		g := &guarded{admin: s.Client(t)}
		for _, d := range g.denied(t, a) {
			t.Errorf("refused: %s", d)
		}
		unused := g.unused(t, redisio.AccessToCluster())
		for _, name := range redisio.AccessToCluster().Commands {
			used[name] = used[name] || !slices.Contains(unused, name)
		}
	}
	for name, is := range used {
		if !is {
			t.Errorf("nothing needs %q", name)
		}
	}
}

// A selector's commands apply to its keys only, and the user's earlier rights are gone.
func TestAccessApart(t *testing.T) {
	s := redistest.Start(t)
	odd := "box (1)" // what would end a selector
	box := redisio.Access{
		Commands: []string{"del", "xadd"},
		Writes:   []string{redisio.KeyPattern(odd), redisio.KeyPattern("box:") + "*"},
	}
	a := writer.Config{Key: "log"}.Access().And(box.Apart(), box.Apart())
	if len(a.Selectors) != 1 {
		t.Errorf("selectors: %v", a.Selectors)
	}
	before := writer.Config{Key: "before"}.Access().Apart().Rules()
	o, err := s.NewUser(rig.Ctx(t), "apart", append(before, a.Rules()...)...)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(o)
	defer rdb.Close()
	for _, test := range []struct {
		err  error
		may  bool
		what string
	}{
		{rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: "log", Values: []string{"n", "1"}}).Err(), true, "append"},
		{rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: odd, Values: []string{"n", "1"}}).Err(), true, "append to a box"},
		{rdb.Del(rig.Ctx(t), odd, "box:2").Err(), true, "delete boxes"},
		{rdb.Del(rig.Ctx(t), "log").Err(), false, "delete the log"},
		{rdb.XLen(rig.Ctx(t), odd).Err(), false, "count a box"},
		{rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: "before", Values: []string{"n", "1"}}).Err(), false, "as before"},
	} {
		if got := test.err == nil; got != test.may || !got && !fault.NoRight(test.err) {
			t.Errorf("%s: %v", test.what, test.err)
		}
	}
}
