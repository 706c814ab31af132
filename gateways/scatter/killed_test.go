package scatter_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// mortal is a client of a process that can die: afterwards nothing of it reaches the server.
type mortal struct {
	*redis.Client
	proxy *redistest.Proxy
}

func newMortal(t testing.TB) *mortal {
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	rdb := redis.NewClient(&redis.Options{Addr: p.Addr(), DisableIdentity: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	return &mortal{rdb, p}
}

func (m *mortal) die() {
	m.proxy.SetDown(true)
	m.proxy.CutAll()
}

// dieBefore lets the process die before its n-th script.
type dieBefore struct {
	*mortal
	n    int64
	seen atomic.Int64
	dead chan struct{}
}

func (d *dieBefore) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d *dieBefore) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "eval" && d.seen.Add(1) == d.n {
			d.die()
			close(d.dead)
		}
		return next(ctx, cmd)
	}
}

func (d *dieBefore) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// The process of the origin dies between each pair of its steps. Another process goes on where it
// was: each part is sent once, and the origin is passed on.
func TestOriginKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	const parts = 450 // three scripts
	for step, what := range []string{"open", "send 0 to 199", "send 200 to 399", "send the rest", "take"} {
		t.Run("before "+what, func(t *testing.T) {
			t.Parallel()
			s := newMortalStand(t)
			first := &dieBefore{mortal: newMortal(t), n: int64(step + 1), dead: make(chan struct{})}
			first.AddHook(first)
			r := run(t, s.origin(first.Client))
			work := s.worker(s.rdb, work, flow.Workers(4))
			if what == "take" {
				run(t, work)
			}
			s.add(t, order{"killed before " + what, parts})
			<-first.dead
			if what != "take" {
				run(t, work)
			}
			run(t, s.origin(s.rdb))
			check(t, s.got.wait(t, 1)[0])
			s.settled(t)
			if n := s.rdb.XInfoStream(t.Context(), s.parts()).Val().EntriesAdded; n != parts {
				t.Errorf("%d parts were sent, want %d", n, parts)
			}
			r.Stop()
		})
	}
}

// Origins and workers die at random; a process in their place goes on. Each order is passed on with
// all its results. SCATTER_SEED sets the seed.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if v := os.Getenv("SCATTER_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	t.Logf("SCATTER_SEED=%d", seed)
	const orders, parts, kills = 20, 10, 3
	s := newMortalStand(t)
	var calls atomic.Int64
	steps := make(chan struct{}, orders*parts*kills*4)
	counted := func(ctx context.Context, i item) (string, error) {
		calls.Add(1)
		steps <- struct{}{}
		return work(ctx, i)
	}
	ctx, stop := context.WithTimeout(context.Background(), redistest.Patience)
	defer stop()
	var actors sync.WaitGroup
	lives := func(who uint64, graph func(redis.UniversalClient) *flow.Graph) {
		rng := rand.New(rand.NewPCG(seed, who))
		for range kills {
			m := newMortal(t)
			r, err := graph(m.Client).Start(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			for n := 1 + rng.IntN(15); n > 0; n-- {
				select {
				case <-steps:
				case <-time.After(2 * lease): // nothing is left to do
					n = 0
				case <-ctx.Done():
					n = 0
				}
			}
			m.die()
			r.Stop()
			_ = r.Wait() // it ends with the error of a lost connection
		}
	}
	for i := range uint64(2) {
		actors.Go(func() { lives(i, func(rdb redis.UniversalClient) *flow.Graph { return s.worker(rdb, counted) }) })
		actors.Go(func() { lives(10+i, func(rdb redis.UniversalClient) *flow.Graph { return s.origin(rdb) }) })
	}
	for i := range orders {
		s.add(t, order{fmt.Sprint("order ", i), parts})
	}
	actors.Wait()
	run(t, s.origin(s.rdb)) // some that live
	run(t, s.worker(s.rdb, counted))
	seen := make(map[string]int)
	redistest.Soon(t, "all orders are passed on", func() bool {
		clear(seen)
		for _, g := range s.got.wait(t, 0) {
			seen[g.Value.Name]++
		}
		return len(seen) == orders
	})
	s.settled(t)
	for _, g := range s.got.wait(t, orders) {
		check(t, g)
	}
	added := s.rdb.XInfoStream(t.Context(), s.parts()).Val().EntriesAdded
	t.Logf(
		"%d parts were sent %d times, and done %d times; passed on: %d",
		orders*parts,
		added,
		calls.Load(),
		len(s.got.all),
	)
	if added != orders*parts {
		t.Errorf("%d parts were sent, want %d", added, orders*parts)
	}
}

// A graph that drains gives its origins back at once. Another one goes on, and the delivery does not
// count.
func TestDrainGivesBack(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{})
	s.add(t, order{"a", 2}, order{"b", 2})
	first := run(t, s.origin(s.rdb))
	redistest.Soon(t, "the parts are sent", func() bool { return s.rdb.XLen(t.Context(), s.parts()).Val() == 4 })
	drained(t, first)
	run(t, s.origin(s.rdb))
	run(t, s.worker(s.rdb, work))
	for _, g := range s.got.wait(t, 2) {
		check(t, g)
	}
	s.settled(t)
	if n := s.rdb.XInfoStream(t.Context(), s.parts()).Val().EntriesAdded; n != 4 {
		t.Errorf("%d parts were sent", n)
	}
}
