package flowtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// ErrChaos is the error of failures and panics by chaos.
var ErrChaos = errors.New("flowtest: chaos")

// Rates are the probabilities of faults, each a share of the calls from 0 to 1.
type Rates struct {
	Fail  float64 // the call returns an error that wraps ErrChaos
	Panic float64 // the call panics with such an error
	Delay float64 // the call is delayed by up to MaxDelay

	MaxDelay time.Duration // 0: 10 ms
	MaxChunk int           // the most messages per chunk after Chaos; 0: 16
}

// trouble decides by a seeded generator, in the order of the calls.
type trouble struct {
	mu    sync.Mutex
	rng   *rand.Rand
	rates Rates
	seed  uint64
}

func newTrouble(t testing.TB, seed uint64, rates Rates) *trouble {
	if rates.MaxDelay <= 0 {
		rates.MaxDelay = 10 * time.Millisecond
	}
	if rates.MaxChunk <= 0 {
		rates.MaxChunk = 16
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("flowtest: chaos had the seed %d", seed)
		}
	})
	return &trouble{rng: rand.New(rand.NewPCG(seed, 0)), rates: rates, seed: seed}
}

// strike waits, fails, panics, or does nothing.
func (c *trouble) strike(ctx context.Context) error {
	c.mu.Lock()
	var wait time.Duration
	if c.rng.Float64() < c.rates.Delay {
		wait = time.Duration(c.rng.Int64N(int64(c.rates.MaxDelay)))
	}
	fail, panics := c.rng.Float64() < c.rates.Fail, c.rng.Float64() < c.rates.Panic
	c.mu.Unlock()
	if wait > 0 && soon(ctx.Done(), wait) {
		return context.Cause(ctx)
	}
	err := fmt.Errorf("%w with seed %d", ErrChaos, c.seed)
	if panics {
		panic(err)
	}
	if fail {
		return err
	}
	return nil
}

// Chaos makes a stage that delays, fails and panics at random, and passes messages on in chunks of
// random size. The seed determines all of it and is logged when the test fails. Replays are exact
// if messages arrive in the same order. A failed message is subject to the fault policy of the
// stage or of the graph.
//
// Order: kept. Acks: an entry is acked when the stages behind have acked it.
// Holds: nothing. Ends: when in ends.
func Chaos[T any](
	t testing.TB, seed uint64, rates Rates, in flow.Source[T], opts ...flow.StageOption,
) flow.Source[T] {
	c := newTrouble(t, seed, rates)
	own := []flow.StageOption{flow.Async(), flow.ChunkSize(1 + c.rng.IntN(c.rates.MaxChunk))}
	return flow.Step(in, "chaos", func() flow.StepFunc[T, T] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			err := c.strike(ctx)
			return m, err == nil, err
		}
	}, append(own, opts...)...)
}

// ChaosAround is Chaos for the ends of a graph: for the Feeder's AroundRead and AroundCommit and
// the Collector's AroundWrite. It acts before the call.
func ChaosAround(t testing.TB, seed uint64, rates Rates) Around {
	c := newTrouble(t, seed, rates)
	return func(ctx context.Context, call func() error) error {
		if err := c.strike(ctx); err != nil {
			return err
		}
		return call()
	}
}
