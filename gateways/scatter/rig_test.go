package scatter_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/scatter"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// order is an origin: so many parts, each of which is its number.
type order struct {
	Name  string `json:"name"`
	Parts int    `json:"parts"`
}

// item is a part of an order.
type item struct {
	Of string `json:"of"`
	N  int    `json:"n"`
}

type (
	config   = scatter.Config[item, string]
	gathered = scatter.Gathered[order, string]
)

func split(_ context.Context, o order) (items []item, err error) {
	for i := range o.Parts {
		items = append(items, item{o.Name, i})
	}
	return items, nil
}

func work(_ context.Context, i item) (string, error) { return i.result(), nil }

func (i item) result() string { return fmt.Sprint(i.Of, " ", i.N) }

// stand is a stream of orders and a scatter.
type stand struct {
	rdb    *redis.Client
	orders string
	cfg    config
	got    results
	ends   time.Duration // the longest end of a graph
}

// newStand makes a stand for processes that live. None loses an entry, however slow the machine is.
func newStand(t testing.TB, cfg config) *stand {
	rdb := redistest.Shared(t).Client(t)
	cfg.Name = redistest.Key(t)
	cfg.Tuning = reader.Tuning{Lease: redistest.Patience, Block: 50 * time.Millisecond}
	return &stand{rdb: rdb, orders: cfg.Name + ":orders", cfg: cfg, got: results{more: make(chan struct{}, 1000)},
		ends: redistest.Patience}
}

// lease is short, so that entries of a dead process are taken over soon.
const lease = 500 * time.Millisecond

// newMortalStand makes a stand for processes that die. A slow one loses its entries too, so a part may be delivered
// any number of times.
func newMortalStand(t testing.TB) *stand {
	s := newStand(t, config{Attempts: 1000})
	s.cfg.Tuning.Lease, s.ends = lease, time.Second
	return s
}

func (s *stand) parts() string { return "{" + s.cfg.Name + "}:parts" }

func (s *stand) add(t testing.TB, orders ...order) {
	t.Helper()
	in := flow.To(source.Of(orders...), sink.Stream(s.rdb, sink.StreamConfig[order]{Key: s.orders}))
	if err := flow.New("add", in).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// results collects what an origin's graph passes on.
type results struct {
	mu   sync.Mutex
	all  []gathered
	more chan struct{}
}

func (r *results) note(_ context.Context, g gathered) error {
	r.mu.Lock()
	r.all = append(r.all, g)
	r.mu.Unlock()
	r.more <- struct{}{}
	return nil
}

// wait waits for n results.
func (r *results) wait(t testing.TB, n int) []gathered {
	t.Helper()
	late := time.After(redistest.Patience)
	for {
		r.mu.Lock()
		all := slices.Clone(r.all)
		r.mu.Unlock()
		if len(all) >= n {
			return all
		}
		select {
		case <-r.more:
		case <-late:
			t.Fatalf("%d of %d results", len(all), n)
		}
	}
}

// origin is the graph that scatters and gathers.
func (s *stand) origin(rdb redis.UniversalClient, opts ...flow.StageOption) *flow.Graph {
	in := source.Stream(rdb, source.StreamConfig[order]{Key: s.orders, Group: "g", MaxDeliveries: -1,
		Tuning: s.cfg.Tuning})
	out := scatter.Out(in, rdb, s.cfg, split, opts...)
	return flow.New("origin", flow.To(out, sink.Func(s.got.note)), flow.DrainTimeout(s.ends),
		flow.KillGrace(s.ends), flow.AckTimeout(s.ends))
}

func (s *stand) worker(
	rdb redis.UniversalClient, f func(context.Context, item) (string, error), opts ...flow.StageOption,
) *flow.Graph {
	return flow.New("worker", scatter.Work(rdb, s.cfg, f, opts...), flow.DrainTimeout(s.ends),
		flow.KillGrace(s.ends), flow.AckTimeout(s.ends))
}

// run runs a graph until the test ends.
func run(t testing.TB, g *flow.Graph) *flow.Running {
	t.Helper()
	r, err := g.Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop(); _ = r.Wait() })
	return r
}

// drained drains a graph without an error.
func drained(t testing.TB, r *flow.Running) {
	t.Helper()
	if _, err := r.Drain(context.Background()); err != nil {
		t.Error(err)
	}
}

// check checks that g has all results, in order.
func check(t testing.TB, g gathered) {
	t.Helper()
	if len(g.Parts) != g.Value.Parts || g.Err() != nil {
		t.Errorf("%s has %d parts of %d, %v", g.Value.Name, len(g.Parts), g.Value.Parts, g.Err())
	}
	for i, v := range g.Values() {
		if want := (item{g.Value.Name, i}).result(); v != want {
			t.Errorf("part %d of %s: %q", i, g.Value.Name, v)
		}
	}
	if len(g.Values()) != g.Value.Parts {
		t.Errorf("%s has %d results of %d", g.Value.Name, len(g.Values()), g.Value.Parts)
	}
}

// settled waits until all orders and all parts are settled.
func (s *stand) settled(t testing.TB) {
	t.Helper()
	for _, key := range []string{s.orders, s.parts()} {
		redistest.Soon(t, key+" is settled", func() bool {
			groups, err := s.rdb.XInfoGroups(context.Background(), key).Result()
			return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
		})
	}
}

// dead returns the errors of the dead letters of the orders.
func (s *stand) dead(t testing.TB, n int) (errs []string) {
	t.Helper()
	redistest.Soon(t, "there are dead letters", func() bool {
		return s.rdb.XLen(context.Background(), s.orders+":dead").Val() >= int64(n)
	})
	for _, e := range s.rdb.XRange(context.Background(), s.orders+":dead", "-", "+").Val() {
		errs = append(errs, fmt.Sprint(e.Values["dead:error"]))
	}
	return errs
}
