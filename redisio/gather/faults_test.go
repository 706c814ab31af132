package gather_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// TestGatherChaos has several origins that open and send the same gathers, and several workers that
// put the results of the same parts, all through a network that loses requests and replies. Each
// part must be in the stream once, and each result must be one that a worker has put. GATHER_SEED
// sets the seed.
func TestGatherChaos(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("GATHER_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("GATHER_SEED=%d", seed)
	const gathers, parts = 20, 8
	direct := redistest.Shared(t)
	p := redistest.StartProxy(t, direct.Addr())
	p.CutRandomly(seed, 0.03)
	s := newStore(t, p.Client(t), gather.Config{})
	var wg sync.WaitGroup
	var counted atomic.Int64
	for actor := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(actor)))
			for g := range gathers {
				id := fmt.Sprint("g", g)
				st, err := s.Open(rig.Ctx(t), id, gather.Terms{Parts: parts, Within: time.Hour, Need: parts - g%2})
				if err != nil {
					t.Error(err)
					return
				}
				for sent := st.Sent; sent < parts; {
					n := 1 + rng.IntN(parts-sent)
					var data [][]byte
					for i := range n {
						data = append(data, fmt.Append(nil, id, " ", sent+i))
					}
					if sent, err = s.Send(rig.Ctx(t), id, sent, "", data...); err != nil &&
						!errors.Is(err, gather.ErrOver) {
						t.Error(err)
						return
					}
					if err != nil {
						break
					}
				}
			}
		})
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(100+actor)))
			for g := range gathers {
				for _, i := range rng.Perm(parts) {
					id := fmt.Sprint("g", g)
					var got gather.Receipt
					var err error
					redistest.Soon(t, "the gather is opened", func() bool {
						got, err = s.Put(rig.Ctx(t), id, i, true, fmt.Append(nil, i, " by ", actor))
						return !errors.Is(err, gather.ErrUnknown)
					})
					if err != nil && !errors.Is(err, gather.ErrOver) {
						t.Error(err)
					}
					if err == nil && got == gather.Counted {
						counted.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	p.CutRandomly(0, 0)
	rdb := direct.Client(t)
	times := make(map[string]int)
	for _, e := range rdb.XRange(rig.Ctx(t), s.Config().Parts(), "-", "+").Val() {
		times[e.Values["id"].(string)]++
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("part %s is in the stream %d times", id, n)
		}
	}
	for g := range gathers {
		o := take(t, s, fmt.Sprint("g", g))
		if o == nil || o.How != gather.Done || o.Done != parts-g%2 {
			t.Fatalf("gather %d: %+v", g, o)
		}
		for i, part := range o.Parts {
			if part.Came && string(part.Data[:1]) != fmt.Sprint(i) {
				t.Errorf("gather %d, part %d has the result %q", g, i, part.Data)
			}
		}
	}
	if n := p.Counts().Total(); n == 0 {
		t.Error("nothing was cut: the test shows nothing")
	}
}

// A reply that is lost does not change the result of any operation.
func TestGatherLostReplies(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	s := newStore(t, p.Client(t), gather.Config{})
	lose := func() { p.Cut(redistest.CutReply, "eval", 1) }
	lose()
	open(t, s, "g", gather.Terms{Parts: 2})
	lose()
	if sent, err := s.Send(rig.Ctx(t), "g", 0, "", []byte("a"), []byte("b")); sent != 2 || err != nil {
		t.Error(sent, err)
	}
	lose()
	put(t, s, "g", 0, "x")
	lose()
	put(t, s, "g", 1, "y")
	lose()
	if o := take(t, s, "g"); o == nil || o.How != gather.Done || string(o.Parts[1].Data) != "y" {
		t.Errorf("%+v", o)
	}
	b, err := gather.NewBarrier(p.Client(t), gather.BarrierConfig{Name: redistest.Key(t), Expect: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		lose()
		if n, err := b.Arrive(rig.Ctx(t), fmt.Sprint(i)); n != i+1 || err != nil {
			t.Error(n, err)
		}
	}
	if n := p.Counts().Total(); n != 7 {
		t.Errorf("%d replies were lost", n)
	}
}

// The server is away for a while.
func TestGatherServerAway(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	s := newStore(t, srv.Client(t), gather.Config{})
	open(t, s, "g", gather.Terms{Parts: 1})
	srv.Kill(t)
	hasty := newStore(t, srv.Client(t), gather.Config{Name: s.Config().Name, Patience: -1})
	if _, err := hasty.Put(rig.Ctx(t), "g", 0, true, nil); err == nil {
		t.Error("without patience there is no error")
	}
	var wg sync.WaitGroup
	wg.Go(func() { put(t, s, "g", 0, "x") })
	srv.Restart(t)
	wg.Wait()
	if o := take(t, s, "g"); o == nil || o.How != gather.Done {
		t.Errorf("%+v", o)
	}
}
