package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/view"
)

func TestProjection(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 3)
	pay(t, s, "ann", 20) // before it runs
	p := newProjection(t, rdb, s)
	if _, err := p.Live(testCtx(t)); !errors.Is(err, view.ErrNoBuild) {
		t.Errorf("before it runs: %v", err)
	}
	r := runs(t, p)
	pay(t, s, "bob", 30)
	last, _, err := s.Last(testCtx(t), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(testCtx(t), "bob", last); err != nil {
		t.Fatal(err)
	}
	settled(t, p)
	right(t, rdb, s, live(t, p), "ann", "bob")
	redistest.Soon(t, "it is ready", func() bool { return r.Ready() == nil }) // unless Redis has just been slow
	if _, err := r.Drain(testCtx(t)); err != nil {
		t.Error(err)
	}
	// The next process goes on where this one has ended, at once.
	pay(t, s, "ann", 5)
	runs(t, newProjection(t, rdb, s, func(c *Config[paid]) { c.Lease = time.Hour }))
	settled(t, p)
	right(t, rdb, s, live(t, p), "ann", "bob")
	ended, cancel := context.WithCancel(testCtx(t))
	cancel()
	if err := p.Wait(ended, "bob", redisio.MaxID); !errors.Is(err, context.Canceled) {
		t.Errorf("an event that never comes: %v", err)
	}
}

// The connections break before and after each kind of command. Each event is applied once.
func TestLostReplies(t *testing.T) {
	srv := redistest.Shared(t)
	proxy := redistest.StartProxy(t, srv.Addr())
	opt := srv.Options()
	opt.Addr, opt.MaxRetries = proxy.Addr(), -1
	cut := redis.NewClient(opt)
	defer cut.Close()
	s := newStore(t, srv.Client(t), 1)
	p := newProjection(t, cut, s, func(c *Config[paid]) { c.Lease = 100 * time.Millisecond })
	r := runs(t, p)
	proxy.CutRandomly(7, 0.05, redistest.CutRequest, redistest.CutReply, redistest.CutHalfReply)
	for range 6 {
		pay(t, s, "ann", 20)
		proxy.Cut(redistest.CutReply, "HINCRBY", 1)
	}
	proxy.CutRandomly(7, 0)
	settled(t, newProjection(t, srv.Client(t), s))
	right(t, srv.Client(t), s, live(t, p), "ann")
	_ = r.Stop()
}

// Two processes compute the same partition, and the claim does not keep them apart. Each event is
// applied once.
func TestTwoWriters(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 1)
	first := newProjection(t, rdb, s, func(c *Config[paid]) { c.Lease = 10 * time.Millisecond })
	runs(t, first)
	runs(t, newProjection(t, rdb, s, func(c *Config[paid]) { c.Lease = 10 * time.Millisecond }))
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() { // the claims are lost all the time
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			k, err := first.Live(testCtx(t))
			if err == nil {
				rdb.HDel(testCtx(t), fmt.Sprintf("%sv:sums:%s", s.Tag(0), k.Build), "owner", "until")
			}
		}
	})
	pay(t, s, "ann", 150)
	settled(t, first)
	close(stop)
	all.Wait()
	right(t, rdb, s, live(t, first), "ann")
}

// The process dies at each step: before Apply, in the middle of a chunk, before the commit and after
// it. Here it is stopped at random, which leaves the same states.
func TestKilledAtAnyStep(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 2)
	var all sync.WaitGroup
	all.Go(func() { pay(t, s, "ann", 100) })
	all.Go(func() { pay(t, s, "bob", 100) })
	var applied atomic.Int64
	for n := range 12 {
		reached := make(chan struct{})
		var once sync.Once
		p := newProjection(t, rdb, s, func(c *Config[paid]) {
			c.Lease = 20 * time.Millisecond
			c.Apply = func(ctx context.Context, tx *view.Tx, e eventstore.Event[paid]) error {
				if applied.Add(1)%int64(3+n) == 0 {
					once.Do(func() { close(reached) })
				}
				return apply(ctx, tx, e)
			}
		})
		r := runs(t, p)
		select {
		case <-reached:
		case <-time.After(100 * time.Millisecond): // all are applied
		}
		_ = r.Stop()
	}
	all.Wait()
	p := newProjection(t, rdb, s)
	runs(t, p)
	settled(t, p)
	right(t, rdb, s, live(t, p), "ann", "bob")
}

// Apply fails and panics now and then. The events behind wait, and none is applied twice or left out.
func TestApplyFails(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 1)
	tries, after := make(map[redisio.ID]int), int64(0)
	p := newProjection(t, rdb, s, func(c *Config[paid]) {
		c.Apply = func(ctx context.Context, tx *view.Tx, e eventstore.Event[paid]) error {
			tries[e.ID]++
			if e.Value.Amount < 0 {
				return flow.Skip
			}
			if e.Value.Bad && tries[e.ID] < 5 {
				tx.HIncrBy("sum", e.Aggregate, 1000) // is not committed
				if tries[e.ID] == 2 {
					panic("bad")
				}
				return errors.New("bad")
			}
			after++
			return apply(ctx, tx, e)
		}
	})
	for _, e := range []paid{{1, false}, {2, false}, {3, true}, {4, false}, {5, true}, {-9, false}, {6, false}} {
		if _, err := s.Append(testCtx(t), "ann", eventstore.Any, e); err != nil {
			t.Fatal(err)
		}
	}
	r := runs(t, p)
	settled(t, p)
	if got := rdb.HGetAll(testCtx(t), live(t, p).Key(0, "sum")).Val()["ann"]; got != "21" {
		t.Errorf("the sum is %s, want 21", got)
	}
	_ = r.Stop()
	if after < 6 {
		t.Errorf("%d events were applied", after)
	}
}

// No policy and no verdict but Skip leaves an event out.
func TestEachEventIsApplied(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	bad := errors.New("bad")
	for name, fails := range map[string]error{"dropped": bad, "rejected": flow.Reject(bad)} {
		s := newStore(t, rdb, 1)
		tries := 0
		p := newProjection(t, rdb, s, func(c *Config[paid]) {
			c.Apply = func(ctx context.Context, tx *view.Tx, e eventstore.Event[paid]) error {
				if tries++; tries < 2 {
					return fails
				}
				return apply(ctx, tx, e)
			}
		})
		pay(t, s, "ann", 1)
		r, err := p.Graph(flow.Faults(flow.Drop), flow.Log(slog.New(slog.DiscardHandler))).Start(testCtx(t))
		if err != nil {
			t.Fatal(name, err)
		}
		settled(t, p)
		right(t, rdb, s, live(t, p), "ann")
		_ = r.Stop()
	}
}

// A wrong change is the fault of its event. The events before it are committed.
func TestWrongChange(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 1)
	pay(t, s, "ann", 7)
	p := newProjection(t, rdb, s, func(c *Config[paid]) {
		c.Apply = func(ctx context.Context, tx *view.Tx, e eventstore.Event[paid]) error {
			if e.Value.Amount == 4 {
				tx.HSet("list:ann", "f", "v")
			}
			return apply(ctx, tx, e)
		}
	})
	r := runs(t, p)
	redistest.Soon(t, "the three events before it are committed", func() bool {
		now, err := p.Progress(testCtx(t))
		return err == nil && now.Live.Entries == 3
	})
	id := rdb.XRange(testCtx(t), s.Log(0), "-", "+").Val()[4].ID
	redistest.Soon(t, "its fault names the event", func() bool {
		return slices.ContainsFunc(
			r.Recent(),
			func(e flow.Event) bool { return strings.Contains(e.Error, "event "+id) },
		)
	})
}

// A log without some of its events is not the base of a build.
func TestDeletedEvents(t *testing.T) {
	rdb, ctx := redistest.Shared(t).Client(t), testCtx(t)
	s := newStore(t, rdb, 1)
	pay(t, s, "ann", 3)
	strict := newProjection(t, rdb, s)
	r := runs(t, strict)
	settled(t, strict)
	if err := rdb.XDel(ctx, s.Log(0), rdb.XRange(ctx, s.Log(0), "-", "+").Val()[1].ID).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := strict.Rebuild(ctx); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the projection is not ready", func() bool { return r.Ready() != nil })
	_ = r.Stop()
	if b := live(t, strict).Build; b != "1.1" {
		t.Errorf("build %s is live", b)
	}
	runs(t, newProjection(t, rdb, s, func(c *Config[paid]) { c.SkipUndecodable = true }))
	redistest.Soon(t, "the build without the event is live", func() bool { return live(t, strict).Build == "1.2" })
}

// An entry of another program stops the partition, or is left out.
func TestUndecodable(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 1)
	pay(t, s, "ann", 2)
	if err := rdb.XAdd(testCtx(t), redistest.Entry(s.Log(0), "data", "{")).Err(); err != nil {
		t.Fatal(err)
	}
	pay(t, s, "ann", 2)
	strict := newProjection(t, rdb, s)
	r := runs(t, strict)
	redistest.Soon(t, "it waits at the entry", func() bool {
		now, err := strict.Progress(testCtx(t))
		return err == nil && now.Live.Entries == 2 && len(r.Recent()) > 2
	})
	_ = r.Stop()
	runs(t, newProjection(t, rdb, s, func(c *Config[paid]) { c.SkipUndecodable = true }))
	settled(t, strict)
	right(t, rdb, s, live(t, strict), "ann")
}

func TestMistakes(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 1)
	var mistake *redisio.ConfigError
	for name, cfg := range map[string]Config[paid]{
		"no name":  {Apply: apply},
		"a brace":  {Name: "{x}", Apply: apply},
		"no Apply": {Name: "x"},
		"version":  {Name: "x", Apply: apply, Version: -1},
		"poll":     {Name: "x", Apply: apply, Poll: -1},
		"lease":    {Name: "x", Apply: apply, Lease: time.Microsecond},
	} {
		if _, err := New(rdb, s, cfg); !errors.As(err, &mistake) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New[paid](rdb, nil, Config[paid]{Name: "x", Apply: apply}); !errors.As(err, &mistake) {
		t.Errorf("no store: %v", err)
	}
	if err := newProjection(t, rdb, s).Graph().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*view.Tx){
		"a list as a hash": func(tx *view.Tx) { tx.RPush("sum", "x", 0) },
		"a text as a number": func(tx *view.Tx) {
			tx.HSet("x", "f", "text")
			tx.HIncrBy("x", "f", 1)
		},
		"not a number": func(tx *view.Tx) { tx.ZAdd("z", "m", math.NaN()) },
	} {
		var bad error
		p := newProjection(t, rdb, newStore(t, rdb, 1), func(c *Config[paid]) {
			c.Apply = func(_ context.Context, tx *view.Tx, e eventstore.Event[paid]) error {
				tx.HSet("sum", "f", "1")
				change(tx)
				return nil
			}
		})
		pay(t, p.store, "ann", 1)
		r := runs(t, p)
		redistest.Soon(t, name+" is a fault", func() bool {
			for _, e := range r.Recent() {
				if e.Kind == flow.EventFault {
					bad = errors.New(e.Error)
				}
			}
			return bad != nil
		})
		_ = r.Stop()
		if now, err := p.Progress(testCtx(t)); err != nil || now.Live.Entries != 0 {
			t.Errorf("%s: %+v, %v", name, now, err)
		}
	}
}

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	t.Parallel()
	rdb := redistest.StartCluster(t, 0).Client(t)
	s := newStore(t, rdb, 4)
	p := newProjection(t, rdb, s)
	runs(t, p)
	names := []string{"a", "b", "c", "d", "e", "f"}
	for _, a := range names {
		pay(t, s, a, 10)
	}
	settled(t, p)
	right(t, rdb, s, live(t, p), names...)
	if _, err := p.Rebuild(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the rebuilt view is live", func() bool { return live(t, p).Build == "1.2" })
	right(t, rdb, s, live(t, p), names...)
	redistest.Soon(t, "the old build is dropped", func() bool {
		now, err := p.Progress(testCtx(t))
		return err == nil && len(now.Old) == 0
	})
}

// The least rights suffice.
func TestAccess(t *testing.T) {
	srv := redistest.Shared(t)
	admin := newStore(t, srv.Client(t), 1)
	rights := newProjection(t, srv.Client(t), admin).Access().And(admin.Config().Access())
	rdb := srv.User(t, redistest.Key(t), rights.Rules()...)
	s, err := eventstore.New(rdb, admin.Config())
	if err != nil {
		t.Fatal(err)
	}
	pay(t, s, "ann", 10)
	p := newProjection(t, rdb, s)
	runs(t, p)
	settled(t, p)
	if _, err := p.Rebuild(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the rebuilt view is live and the old one dropped", func() bool {
		now, err := p.Progress(testCtx(t))
		return err == nil && now.Live.Build == "1.2" && len(now.Old) == 0
	})
	settled(t, p)
	right(t, srv.Client(t), s, live(t, p), "ann")
}
