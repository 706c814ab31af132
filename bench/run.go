package bench

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options configure Run.
type Options struct {
	Cases    []Case
	N        int   // messages per run. Defaults to the case's number
	Payloads []int // in bytes; other cases have a fixed size. Defaults to 100
	Reps     int   // repetitions. Defaults to 5
	// Redis is the server for the cases that need one. If it is nil, these cases are skipped, which
	// is logged.
	Redis redis.UniversalClient
	// Start starts another server like Redis, and returns a client and what ends both. Only
	// growth-servers needs it.
	Start func(ctx context.Context) (redis.UniversalClient, func() error, error)
	// Logf receives progress messages. Defaults to none.
	Logf func(format string, args ...any)
	// Each receives the results of a case and a payload as soon as they are complete.
	Each func([]Result)
}

// Timeout is how long one run may take.
const Timeout = 5 * time.Minute

// Run runs the cases. It alternates all implementations of a case, once per repetition, so that
// other load on the machine affects all of them alike. A wrong result ends Run with an error. When
// ctx ends, Run reports the current case as far as it got, and returns the cause.
func Run(ctx context.Context, o Options) error {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.Each == nil {
		o.Each = func([]Result) {}
	}
	if len(o.Payloads) == 0 {
		o.Payloads = []int{100}
	}
	o.Reps = cmp.Or(o.Reps, 5)
	prefix := "bench:" + rand.Text()[:8]
	for _, c := range o.Cases {
		if c.Redis && o.Redis == nil {
			o.Logf("%s: skipped: it needs a Redis server", c.Name)
			continue
		}
		payloads := o.Payloads
		if c.Payload > 0 {
			payloads = []int{c.Payload}
		}
		for _, payload := range payloads {
			results, err := o.race(ctx, c, payload, prefix)
			if len(results) > 0 {
				o.Each(results)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// race repeats all implementations of a case alternately.
func (o Options) race(ctx context.Context, c Case, payload int, prefix string) (_ []Result, err error) {
	n := cmp.Or(o.N, c.Messages(payload))
	trials := make(map[string][]*Trial)
	used := make(map[string]*Trial) // by key, to delete them at the end
	defer func() {
		// Runs after an interruption too, so that nothing is left on the server.
		for _, t := range used {
			err = errors.Join(err, t.clean(context.WithoutCancel(ctx)))
		}
	}()
	for rep := range o.Reps {
		for _, i := range inTurn(c.Implementations, rep) {
			var rdb redis.UniversalClient
			if c.Redis {
				rdb = o.Redis
			}
			t := newTrial(c, i, n, payload, rdb, prefix)
			t.Logf, t.start = o.Logf, o.Start
			used[t.In] = t
			if err := t.within(ctx, c, i); err != nil {
				return summary(c, trials), err
			}
			trials[i.Name] = append(trials[i.Name], t)
			o.Logf("%-16s %-20s %4d B  %d/%d  %s", c.Name, i.Name, payload, rep+1, o.Reps, t.brief())
		}
	}
	return summary(c, trials), nil
}

// inTurn starts each repetition with another implementation, because the position may affect the
// result.
func inTurn(impls []Implementation, rep int) []Implementation {
	at := rep % len(impls)
	return slices.Concat(impls[at:], impls[:at])
}

// within runs a trial with a timeout.
func (t *Trial) within(ctx context.Context, c Case, i Implementation) error {
	bounded, cancel := context.WithTimeoutCause(ctx, Timeout,
		fmt.Errorf("bench: %s/%s with %d messages did not end within %v", c.Name, i.Name, t.N, Timeout))
	defer cancel()
	return t.run(bounded, c, i)
}

func (t *Trial) brief() string {
	if len(t.Latencies) > 0 {
		return fmt.Sprintf(
			"p50 %v, p99 %v",
			t.percentile(50).Round(time.Microsecond),
			t.percentile(99).Round(time.Microsecond),
		)
	}
	return fmt.Sprintf("%11.0f messages/s", t.rate())
}

func (t *Trial) rate() float64 { return float64(t.N) / t.elapsed.Seconds() }

func (t *Trial) percentile(p int) time.Duration {
	if len(t.Latencies) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t.Latencies))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
