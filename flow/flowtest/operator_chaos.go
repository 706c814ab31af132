package flowtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Idea of the chaos: a seed chooses the number of values, the credits, the chunks, the delays, which
// values the operator's function and the sinks fail, and how the graph ends. The values that fail
// are chosen by value, so a retry fails like the first try. Without a fault and a stop the result
// must be that of the calm tests. In any case acked inputs must be in their outputs.

// defaultSeeds are few, because there are many operators.
const defaultSeeds = 20

// chaos runs the seeds.
func (s *operatorSuite[U]) chaos(t *testing.T) {
	first, seeds := uint64(0), uint64(s.Seeds)
	if seeds == 0 {
		seeds = defaultSeeds
		if n, err := strconv.ParseUint(os.Getenv("FLOWTEST_SEEDS"), 10, 32); err == nil {
			seeds = n
		}
	}
	if n, err := strconv.ParseUint(os.Getenv("FLOWTEST_SEED"), 10, 64); err == nil {
		first, seeds = n, 1
	}
	for seed := first; seed < first+seeds; seed++ {
		c := newMayhem(seed, s.Calls, max(1, s.Holds))
		if runIn(t, fmt.Sprintf("seed %d", seed), false, limitOf(s.Limit, 0, false), func(t *testing.T) {
			s.suffer(t, c)
		}) {
			s.proof.Seeds++
			s.proof.counts(c.proves()...)
		}
	}
}

// mayhem is what one seed has chosen.
type mayhem struct {
	rng     *rand.Rand
	values  int
	credits int
	ends    ending
	after   time.Duration // to the drain or stop
	rates   Rates         // of the delays, and the chunks
	fails   uint64        // one of how many values the function fails; 0: none
	panics  bool          // the function panics instead
	refuses uint64        // one of how many outputs the sinks fail; 0: none
	policy  flow.Policy
	outcome flow.Outcome // of values that the function fails
}

// ending is how a graph ends.
type ending uint8

const (
	byItself ending = iota
	byDrain
	byStop
)

func newMayhem(seed uint64, calls bool, fewest int) *mayhem {
	rng := rand.New(rand.NewPCG(seed, 15))
	c := &mayhem{
		rng:     rng,
		values:  rng.IntN(200),
		credits: fewest + rng.IntN([]int{1, 10, 1000}[rng.IntN(3)]),
		ends:    ending(rng.IntN(3)),
		after:   time.Duration(rng.IntN(300)) * time.Millisecond,
		rates:   Rates{Delay: rng.Float64() / 4, MaxDelay: 20 * time.Millisecond, MaxChunk: 1 + rng.IntN(64)},
	}
	if rng.IntN(2) == 0 {
		c.refuses = 2 + rng.Uint64N(20)
	}
	if calls && rng.IntN(2) == 0 {
		c.fails, c.panics = 2+rng.Uint64N(20), rng.IntN(2) == 0
	}
	ways := []struct {
		policy  flow.Policy
		outcome flow.Outcome
	}{{flow.DeadLetter, flow.Dead}, {flow.Nack, flow.Nacked}, {flow.Drop, flow.Dropped},
		{flow.Retry(2, time.Millisecond, flow.DeadLetter), flow.Dead}}
	way := ways[rng.IntN(len(ways))]
	c.policy, c.outcome = way.policy, way.outcome
	return c
}

func (c *mayhem) proves() []Promise {
	of := []Promise{Bounded}
	if c.fails > 0 || c.refuses > 0 {
		of = append(of, FaultTolerant)
	}
	switch {
	case c.ends == byStop:
		of = append(of, Cancellable)
	case c.ends == byDrain:
		of = append(of, Drainable)
	case c.calm():
		of = append(of, SameResult)
	}
	return of
}

// calm reports whether all values must arrive that were delivered.
func (c *mayhem) calm() bool { return c.fails == 0 && c.refuses == 0 && c.ends != byStop }

// among reports whether a value is one of those that fail.
func among(v int, of uint64) bool { return of > 0 && uint64(v)*0x9e3779b97f4a7c15>>32%of == 0 }

// function is the operator's function.
func (c *mayhem) function() func(int) error {
	if c.fails == 0 {
		return nil
	}
	return func(v int) error {
		if !among(v, c.fails) {
			return nil
		}
		if c.panics {
			panic(errBad)
		}
		return errBad
	}
}

// suffer runs one seed.
func (s *operatorSuite[U]) suffer(t *testing.T, c *mayhem) {
	r := s.rig(t, rigged{
		credits: c.credits, f: c.function(), opts: []flow.StageOption{flow.OnFault(c.policy)},
		feed: []FeedOption{FeedStage(flow.ChunkSize(c.rates.MaxChunk))},
		sink: []flow.StageOption{flow.OnFault(flow.Nack), flow.ChunkSize(1 + c.rng.IntN(64))},
		before: func(in flow.Source[int]) flow.Source[int] {
			return Chaos(t, c.rng.Uint64(), c.rates, in)
		},
	})
	r.sinks(func(got *Collector[U]) {
		got.AroundWrite(ChaosAround(t, c.rng.Uint64(), c.rates))
		if c.refuses > 0 {
			got.FailOn(s.refusing(c))
		}
	})
	running := r.start(flow.DrainTimeout(time.Hour))
	r.send(upTo(c.values)...)
	if c.ends == byItself {
		r.close()
	} else {
		time.Sleep(c.after)
	}
	var err error
	switch c.ends {
	case byStop:
		err = running.Stop()
	case byDrain:
		_, err = running.Drain(context.Background())
	default:
		err = waitFor(t, running)
	}
	if err != nil {
		t.Errorf("the graph ended with: %v", err)
	}
	s.survived(t, r, c)
}

// refusing fails some outputs: those of some inputs, or each n-th if the inputs are not known.
func (s *operatorSuite[U]) refusing(c *mayhem) func(flow.Message[U]) error {
	var mu sync.Mutex
	n := 0
	return func(m flow.Message[U]) error {
		mu.Lock()
		defer mu.Unlock()
		n++
		if s.Of == nil {
			if among(n, c.refuses) {
				return errBad
			}
			return nil
		}
		for _, in := range s.Of(m.Value) {
			if among(in, c.refuses) {
				return errBad
			}
		}
		return nil
	}
}

// survived checks the end of a seed.
func (s *operatorSuite[U]) survived(t *testing.T, r *rig[U], c *mayhem) {
	t.Helper()
	var in []int
	for _, st := range r.settlements() {
		in = append(in, st.Value)
	}
	slices.Sort(in)
	if c.ends == byItself && len(in) != c.values && !s.Leaves {
		t.Errorf("%d of %d entries were settled", len(in), c.values)
	}
	for _, f := range r.feeds {
		if f.MostOutstanding() > c.credits {
			t.Errorf("%d entries were in flight, there are %d credits", f.MostOutstanding(), c.credits)
		}
	}
	if c.calm() {
		s.complete(t, r, in, nil)
		return
	}
	others := []flow.Outcome{flow.Nacked}
	if c.fails > 0 {
		others = append(others, c.outcome)
	}
	s.consistent(t, r, r.out(), others...)
}
