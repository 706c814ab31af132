package flowtest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// FuzzLineage runs the proof on trees that the fuzzer chooses.
func FuzzLineage(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, []byte{})
	}
	f.Add(uint64(1), []byte("a tree out of bytes"))
	f.Add(uint64(2), []byte{9, 200, 7, 100, 13, 77, 250, 0, 0, 0, 31, 4, 4, 4, 4})
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		synctest.Test(t, func(t *testing.T) { lineage(t, seed, data, time.Millisecond) })
	})
}

// TestLineage runs the proof on many seeds. LINEAGE_SEED=n runs the one seed n, LINEAGE_SEEDS=n the first n.
func TestLineage(t *testing.T) {
	first, seeds := uint64(0), uint64(2000)
	if raceEnabled || testing.Short() {
		seeds = 400
	}
	if s := os.Getenv("LINEAGE_SEED"); s != "" {
		first, _ = strconv.ParseUint(s, 10, 64)
		seeds = 1
	}
	if s := os.Getenv("LINEAGE_SEEDS"); s != "" {
		seeds, _ = strconv.ParseUint(s, 10, 64)
	}
	for seed := first; seed < first+seeds; seed++ {
		if !t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lineage(t, seed, nil, time.Millisecond) })
		}) {
			t.Logf("to replay: LINEAGE_SEED=%d go test -run TestLineage ./flow/flowtest", seed)
		}
	}
}

// TestLineageInRealTime runs some seeds outside a bubble: there the tasks of workers have more than one message, since
// handlers take time.
func TestLineageInRealTime(t *testing.T) {
	for seed := range uint64(12) {
		if !t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { lineage(t, seed, nil, 20*time.Microsecond) }) {
			t.Logf("to replay: go test -run TestLineageInRealTime/seed=%d$ ./flow/flowtest", seed)
		}
	}
}

// lineage makes the tree of a seed, runs it, and checks how each entry ended.
func lineage(t *testing.T, seed uint64, data []byte, unit time.Duration) {
	if !lineageWith(t, seed, data, unit, 0) { // its batches were too large for its credits
		lineageWith(t, seed, data, unit, 1<<20)
	}
}

func lineageWith(t *testing.T, seed uint64, data []byte, unit time.Duration, credits int) (valid bool) {
	d := &dice{data: data, rng: rand.New(rand.NewPCG(seed, hashString(data)))}
	w := newWorld(mix(seed, hashString(data)))
	g := &tree{dice: d, w: w, unit: unit}
	g.trouble = []int{0, 20, 80, 200}[g.n(4)]
	g.redelivers, g.deadLetters = !g.chance(10), !g.chance(10)
	g.stops = g.chance(10)
	limit := []int{1, 2, 3, 7, 20, 100, 1000, 4096}[g.n(8)]
	limit = max(limit, credits)
	maxBytes := []int{15, 100, 1 << 20}[g.n(3)]
	g.roomy = limit >= 100 && maxBytes > 1000

	sources := 1 + g.n(2)
	entries := g.n(60)
	if g.chance(5) {
		entries *= 20
	}
	var feeds []*flowtest.Feeder[item]
	var roots []*node
	var ins []flow.Source[item]
	for i := range sources {
		opts := []flowtest.FeedOption{flowtest.FeedStage(flow.MaxInFlight(limit), flow.MaxBytes(maxBytes),
			flow.ChunkSize([]int{1, 3, 64}[g.n(3)]), flow.Name(fmt.Sprint("feed", i)))}
		if g.redelivers {
			opts = append(opts, flowtest.Redeliver(1+g.n(4)))
		} else {
			opts = append(opts, flowtest.CannotRedeliver())
		}
		if !g.deadLetters {
			opts = append(opts, flowtest.NoDeadLetters())
		}
		inline := g.chance(10)
		if inline {
			opts = append(opts, flowtest.FeedStage(flow.Traits{Inline: true}))
			g.text = append(g.text, "inline")
		}
		src, feed := flowtest.Feed[item](t, opts...)
		feed.SizeBy(func(item) int { return 10 })
		if g.chance(30) && !inline { // an error of an inline source gives back what its stages hold
			feed.AroundRead(g.around(false))
		}
		if g.chance(30) {
			feed.AroundCommit(g.around(true))
		}
		n := g.plain("stamp")
		n.walk = func(it item, to func(*node, item)) { to(n.next[0], stamp(it, it.attempt)) }
		feeds, roots = append(feeds, feed), append(roots, n)
		ins = append(ins, flow.Step(src, "stamp", func() flow.StepFunc[item, item] {
			return func(_ context.Context, m flow.Message[item]) (flow.Message[item], bool, error) {
				return flow.Derive(m, stamp(m.Value, m.Attempt())), true, nil
			}
		}))
	}
	in := ins[0]
	if sources > 1 {
		in = operators.FanIn(ins...)
	}
	p := g.line(in, kept, 2, 1+g.n(4))
	for _, n := range roots {
		n.to(p.head)
	}
	p.tail.to(g.finish(p.out, p.ord, 2))

	drain, window := time.Hour, time.Minute
	if unit < time.Millisecond {
		drain, window = time.Minute, 10*time.Millisecond // of restarts: their waits must not grow to a minute
	}
	if os.Getenv("LINEAGE_LOG") != "" {
		g.parts = append(g.parts, flow.Log(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	}
	parts := append(g.parts, flow.Restarts(1e6, window, unit), flow.DrainTimeout(drain), flow.AckTimeout(drain),
		flow.OnEvent(flow.Hooks{Restarted: func(stage string, _ int, err error) {
			if !errors.Is(err, errPassing) {
				w.problem("stage %s was restarted: %v", stage, err)
			}
		}}))
	graph := flow.New("lineage", parts...)
	if err := graph.Validate(); err != nil {
		if credits == 0 {
			return false
		}
		t.Fatalf("seed %d: %v\n%s", seed, err, g)
	}
	mode := g.n(7)
	wait := time.Duration(g.n(100)) * unit
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := graph.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for i, f := range feeds {
		for e := range entries {
			if e == entries/2 && mode != 0 && g.chance(50) {
				time.Sleep(time.Duration(g.n(5)) * unit)
			}
			f.Send(item{delivery: delivery{src: i, entry: e}, key: int(mix(uint64(e)) % 5)})
		}
		if mode < 4 {
			f.Close()
		}
		left += entries
	}
	time.Sleep(wait)
	hurried := false
	switch mode {
	case 2, 4:
		cancel()
	case 3, 5:
		short, stop := context.WithTimeout(ctx, time.Duration(g.n(200))*unit)
		w.disrupt("drained in a hurry")
		hurried = true
		_, _ = r.Drain(short)
		stop()
	case 6:
		w.disrupt("stopped")
		_ = r.Stop()
	}
	limitTime := 100 * time.Hour
	if unit < time.Millisecond {
		limitTime = time.Minute
	}
	select {
	case <-r.Done():
	case <-time.After(limitTime):
		w.disrupt("hung")
		t.Errorf("seed %d: it hangs: %+v", seed, r.Snapshot(ctx))
		_ = r.Stop()
	}
	err = r.Wait()
	var stage *flow.StageError
	switch {
	case w.stopping:
		if !errors.As(err, &stage) {
			t.Errorf("seed %d: ended with %v, want a StageError", seed, err)
		}
	case err != nil && !hurried:
		t.Errorf("seed %d: ended with %v, want nil", seed, err)
	}
	for i, f := range feeds {
		if n := f.Outstanding(); n > 0 {
			w.problem("source %d: %d deliveries are not settled", i, n)
		}
		if f.MostOutstanding() > limit {
			w.problem("source %d: %d entries were in flight, the limit is %d", i, f.MostOutstanding(), limit)
		}
		all := f.Settlements()
		if mode < 2 && !w.stopping && len(all) < entries {
			w.problem("source %d: %d of %d entries were settled", i, len(all), entries)
		}
		for _, s := range all {
			w.check(roots[i], s)
		}
	}
	snap := r.Snapshot(ctx)
	for _, s := range snap.Sources {
		if s.InFlight != 0 || s.BytesFree != maxBytes {
			w.problem("source %s: %d in flight, %d bytes free at the end", s.Name, s.InFlight, s.BytesFree)
		}
	}
	for i, p := range w.problems {
		if i == 8 {
			break
		}
		t.Errorf("seed %d: %s", seed, p)
	}
	if t.Failed() {
		t.Logf(
			"seed %d, data %q: mode %d, limit %d, %d bytes, trouble %d, %d entries, redelivers %v, dead letters %v, "+
				"%v\n%s",
			seed,
			data,
			mode,
			limit,
			maxBytes,
			g.trouble,
			entries,
			g.redelivers,
			g.deadLetters,
			w.disrupted,
			g,
		)
	}
	return true
}

func stamp(it item, attempt int) item {
	it.attempt = attempt
	it.id = mix(uint64(it.src), uint64(it.entry), uint64(attempt))
	return it
}

// around makes reads and commits fail and panic before and after they are done.
func (g *tree) around(commit bool) flowtest.Around {
	seed := g.n(250)
	var calls atomic.Uint64 // also of several lives of a source at once
	return func(ctx context.Context, call func() error) error {
		n := calls.Add(1)
		if n > 60 {
			return call()
		}
		switch mix(g.w.seed, uint64(seed), n) % 10 {
		case 0:
			return errPassing
		case 1:
			panic(errPassing)
		case 2:
			if err := call(); err != nil || commit { // committed settlements must not be committed again
				return err
			}
			return errPassing
		case 3:
			if err := call(); err != nil || commit {
				return err
			}
			panic(errPassing)
		case 4:
			time.Sleep(g.unit)
		}
		return call()
	}
}
