package bench

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// outcome is the result of a request.
type outcome uint8

const (
	answered outcome = iota + 1
	refused          // with overload, as promised
	failed           // anything else
)

// arrival is one request of an open loop. Its time counts from when it was due, even if it was sent
// later. Otherwise a caller that waits for a slow answer would hide the slowness.
type arrival struct {
	due  time.Duration // since the start
	took time.Duration // since it was due
	late time.Duration // how long after due it was sent
	what outcome
	err  error // if it failed
}

// arrive makes n requests at random times (a Poisson process) with the given rate per second,
// without waiting for earlier answers, and returns when all have ended.
func arrive(ctx context.Context, rate float64, n int, do func(context.Context, int) (outcome, error)) []arrival {
	all := make([]arrival, n)
	random := rand.New(rand.NewPCG(uint64(n), 1)) // the same for all implementations
	var wg sync.WaitGroup
	began := time.Now()
	due := time.Duration(0)
	for i := range all {
		due += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
		all[i].due = due
		if d := due - time.Since(began); d > 0 {
			time.Sleep(d)
		}
		wg.Go(func() {
			a := &all[i]
			a.late = time.Since(began) - a.due
			a.what, a.err = do(ctx, i)
			a.took = time.Since(began) - a.due
		})
	}
	wg.Wait()
	return all
}

// load is the result of an open loop.
type load struct {
	name              string
	offered           float64 // per second
	goodput           float64 // answers per second until the last request was due
	answers, refusals []time.Duration
	late              []time.Duration // delays of the loop itself
	failures          int
	failure           error // the first
}

func loadOf(name string, rate float64, all []arrival) load {
	l := load{name: name, offered: rate}
	end := all[len(all)-1].due
	inTime := 0
	for _, a := range all {
		l.late = append(l.late, a.late)
		switch a.what {
		case answered:
			l.answers = append(l.answers, a.took)
			if a.due+a.took <= end {
				inTime++
			}
		case refused:
			l.refusals = append(l.refusals, a.took-a.late) // not delayed by requests before it
		default:
			if l.failures++; l.failure == nil {
				l.failure = a.err
			}
		}
	}
	slices.Sort(l.answers)
	slices.Sort(l.refusals)
	slices.Sort(l.late)
	l.goodput = float64(inTime) / end.Seconds()
	return l
}

// recovered returns the time at which the latency was back to usual: the end of the first five
// successive intervals of recoverEvery without refusals and with a usual median. If there are no
// such five, it returns the end of the last interval.
func recovered(all []arrival, usual time.Duration) time.Duration {
	const row = 5
	var good, end time.Duration
	for from, n := 0, 0; from < len(all) && n < row; {
		begins := all[from].due.Truncate(recoverEvery)
		end = begins + recoverEvery
		var took []time.Duration
		fine := true
		for ; from < len(all) && all[from].due < end; from++ {
			took = append(took, all[from].took)
			fine = fine && all[from].what == answered
		}
		slices.Sort(took)
		switch {
		case !fine || percentile(took, 50) > usual:
			good, n = end, 0
		default:
			n++
		}
	}
	return good
}

const recoverEvery = 50 * time.Millisecond

// percentile returns a percentile of a sorted slice.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
