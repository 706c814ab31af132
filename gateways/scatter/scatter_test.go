package scatter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/scatter"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Several origins and several workers share the work. Some parts fail at first, or panic.
func TestScatter(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{Open: 7})
	var orders []order
	for i := range 30 {
		orders = append(orders, order{fmt.Sprint("order ", i), i % 6})
	}
	flaky := func(ctx context.Context, i item) (string, error) {
		if i.N == 3 {
			select {
			case failed <- struct{}{}:
				return "", flow.RetryAfter(10*time.Millisecond, errors.New("not yet"))
			default:
			}
		}
		return work(ctx, i)
	}
	for range 2 {
		run(t, s.origin(s.rdb))
		run(t, s.worker(s.rdb, flaky, flow.Workers(4)))
	}
	s.add(t, orders...)
	seen := make(map[string]bool)
	for _, g := range s.got.wait(t, len(orders)) {
		check(t, g)
		seen[g.Value.Name] = true
	}
	if len(seen) != len(orders) {
		t.Errorf("%d orders of %d", len(seen), len(orders))
	}
	s.settled(t)
}

var failed = make(chan struct{}, 5) // the first five calls fail

// An origin in memory ends when all its gathers are over. Several messages of one entry have gathers
// of their own, unless their parts are the same.
func TestScatterInMemory(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{})
	run(t, s.worker(s.rdb, work))
	in := source.Of(order{"a", 3}, order{"b", 0}, order{"c", 1})
	out := scatter.Out(in, s.rdb, s.cfg, split)
	if err := flow.New("origin", flow.To(out, sink.Func(s.got.note))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, g := range s.got.wait(t, 3) {
		check(t, g)
	}
}

// A worker decides what happens to a part, and the configuration what happens to its origin.
func TestPolicies(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	fails := func(which ...int) func(context.Context, item) (string, error) {
		return func(ctx context.Context, i item) (string, error) {
			if slices.Contains(which, i.N) {
				return "", flow.Reject(boom)
			}
			return work(ctx, i)
		}
	}
	never := func(ctx context.Context, i item) (string, error) {
		if i.N == 1 {
			<-ctx.Done()
			return "", context.Cause(ctx)
		}
		return work(ctx, i)
	}
	for _, c := range []struct {
		name  string
		cfg   config
		parts int
		work  func(context.Context, item) (string, error)
		dead  string // a part of the dead letter's error; "" if the origin is passed on
		fine  int    // how many results it has
		lacks bool
	}{
		{name: "a part fails", parts: 3, work: fails(1), dead: "part 1: "},
		{name: "partial", cfg: config{Partial: true}, parts: 3, work: fails(1), fine: 2, lacks: true},
		{name: "quorum", cfg: config{Quorum: 2}, parts: 3, work: fails(1), fine: 2},
		{name: "no quorum", cfg: config{Quorum: 2}, parts: 3, work: fails(0, 1), dead: "2 are needed"},
		{name: "never comes", cfg: config{Within: 2 * time.Second}, parts: 2, work: never, dead: "missing [1]"},
		{name: "never comes, partial", cfg: config{Within: 2 * time.Second, Partial: true}, parts: 2, work: never, fine: 1, lacks: true},
		{name: "too many parts", cfg: config{MaxParts: 3}, parts: 4, work: work, dead: "4 is more than the limit of 3"},
		{name: "a large part", cfg: config{MaxPart: 10}, parts: 1, work: work, dead: "more than the limit of 10"},
		{name: "a large result", cfg: config{MaxResult: 3}, parts: 1, work: work, dead: "more than the limit of 3"},
		{name: "large results", cfg: config{MaxResults: 30, Partial: true}, parts: 3, work: work, fine: 1, lacks: true},
		{name: "it panics", cfg: config{Attempts: 1}, parts: 1, work: func(context.Context, item) (string, error) { panic("oops") }, dead: "oops"},
		{name: "it always fails", cfg: config{Attempts: 2}, parts: 1, work: func(context.Context, item) (string, error) { return "", flow.RetryAfter(0, boom) }, dead: "boom"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			begin := func() *stand {
				s := newStand(t, c.cfg)
				s.add(t, order{"an order: " + c.name, c.parts})
				run(t, s.worker(s.rdb, c.work, flow.Workers(3)))
				run(t, s.origin(s.rdb))
				return s
			}
			// On a busy machine, no part may come within a time that is to be over.
			longer := func() bool { c.cfg.Within *= 2; return 0 < c.cfg.Within && c.cfg.Within < redistest.Patience }
			s := begin()
			if c.dead != "" {
				errs := s.dead(t, 1)
				for strings.Contains(errs[0], "missing [0 1]") && longer() {
					s = begin()
					errs = s.dead(t, 1)
				}
				if len(errs) != 1 || !strings.Contains(errs[0], c.dead) {
					t.Errorf("dead letters %q, want %q", errs, c.dead)
				}
				if len(s.got.all) > 0 {
					t.Errorf("passed on: %+v", s.got.all)
				}
				return
			}
			g := s.got.wait(t, 1)[0]
			for len(g.Values()) == 0 && longer() {
				s = begin()
				g = s.got.wait(t, 1)[0]
			}
			lacks := (*scatter.IncompleteError)(nil)
			if n := len(g.Values()); n != c.fine || errors.As(g.Err(), &lacks) != c.lacks || len(g.Parts) != c.parts {
				t.Errorf("%d results, %v", n, g.Err())
			}
			for i, p := range g.Parts {
				failed := (*scatter.PartError)(nil)
				if p.Err != nil && !errors.Is(p.Err, scatter.ErrMissing) &&
					(!errors.As(p.Err, &failed) || failed.Part != i) {
					t.Errorf("part %d: %v", i, p.Err)
				}
			}
		})
	}
}

// Parts of a gather that is over are dropped without a call, and counted.
func TestLateParts(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{Quorum: 1})
	s.add(t, order{"quick", 5})
	run(t, s.origin(s.rdb))
	var calls atomic.Int64
	w := run(t, s.worker(s.rdb, func(ctx context.Context, i item) (string, error) {
		calls.Add(1)
		return work(ctx, i)
	}))
	s.got.wait(t, 1)
	s.settled(t)
	redistest.Soon(
		t,
		"the late parts are counted",
		func() bool { return w.Snapshot(t.Context()).Sources[0].Dropped == 4 },
	)
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls", n)
	}
	foreign := redistest.Entry(s.parts(), "data", "x")
	if err := s.rdb.XAdd(t.Context(), foreign).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "an entry that is no part is dead", func() bool {
		return s.rdb.XLen(t.Context(), s.parts()+":dead").Val() == 1
	})
}

// No more parts than MaxQueued wait in Redis.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{MaxQueued: 10})
	s.add(t, order{"a", 8}, order{"b", 8}, order{"c", 8}, order{"d", 8})
	run(t, s.origin(s.rdb))
	var most atomic.Int64
	run(t, s.worker(s.rdb, func(ctx context.Context, i item) (string, error) {
		if n := s.rdb.XLen(ctx, s.parts()).Val(); n > most.Load() {
			most.Store(n)
		}
		return work(ctx, i)
	}))
	for _, g := range s.got.wait(t, 4) {
		check(t, g)
	}
	if n := most.Load(); n > 10 {
		t.Errorf("%d parts were in the stream", n)
	}
}

func TestMistakes(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	bad := config{Quorum: -1, Within: -1, Open: -1, MaxParts: gather.MaxParts + 1, MaxPart: -1, MaxResult: -1,
		MaxResults: -1, Attempts: -1, MaxQueued: -1, Keep: -1}
	err := bad.Validate()
	if n := strings.Count(fmt.Sprint(err), "\n"); n < 9 {
		t.Errorf("%d mistakes: %v", n, err)
	}
	out := scatter.Out[order, item, string](source.Of[order](), nil, bad, nil)
	g := flow.New("g", flow.To(out, sink.Discard[gathered]()), scatter.Work[item, string](rdb, bad, nil))
	if mistake := (*flow.BuildError)(nil); !errors.As(g.Validate(), &mistake) {
		t.Errorf("%v", g.Validate())
	}
}

// Each role works with exactly the rights that it declares.
func TestAccess(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := newStand(t, config{})
	s.rdb = srv.Client(t)
	run(t, s.worker(srv.User(t, "worker", s.cfg.AccessWork().Rules()...), work))
	orders := source.StreamConfig[order]{Key: s.orders, Group: "g"}
	in := source.Stream(s.rdb, orders)
	out := scatter.Out(in, srv.User(t, "origin", s.cfg.AccessOut().Rules()...), s.cfg, split)
	run(t, flow.New("origin", flow.To(out, sink.Func(s.got.note))))
	s.add(t, order{"a", 3})
	check(t, s.got.wait(t, 1)[0])
}
