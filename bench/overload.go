package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// The service of overload has this many workers, each of which takes this long for a request
// without computing. So its capacity is known, and the machine's cores do not limit it.
const (
	overloadWorkers = 16
	overloadTakes   = 8 * time.Millisecond
	overloadTaken   = 4 * overloadTakes // to handle all requests that a service takes by default
	overloadMaxWait = 250 * time.Millisecond
	leastWait       = 10 * time.Millisecond // before a refused call is repeated
)

// overload is not a comparison. It sends a service more requests than it can handle, and checks how
// each ends.
func overload() Case {
	c := calls(overloadWorkers)
	c.Name, c.About = "overload", fmt.Sprintf(
		"an open loop at half, 0.9 times and twice the capacity of %d workers of %v; n requests at twice",
		overloadWorkers,
		overloadTakes,
	)
	c.Reference, c.N, c.Payload, c.ByRate, c.Explicit = "client", 40_000, 100, false, true
	c.Check = func(ctx context.Context, t *Trial) error {
		groups, err := t.Redis.XInfoGroups(ctx, t.In).Result()
		if err == nil && (len(groups) != 1 || groups[0].Pending != 0 || groups[0].Lag != 0) {
			err = fmt.Errorf("the service left unread or pending entries: %+v", groups)
		}
		return err
	}
	run := func(open func(context.Context, *Trial) (patience, error)) runFunc {
		return func(ctx context.Context, t *Trial) (err error) {
			p, err := open(ctx, t)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.end()) }()
			return overloaded(ctx, t, p)
		}
	}
	c.Implementations = []Implementation{
		{
			Name:  "client",
			About: "one gateways.Client",
			Run:   run(func(ctx context.Context, t *Trial) (patience, error) { return patient(ctx, t, 1) }),
		},
		{
			Name:  "clients",
			About: "eight clients, as in eight processes",
			Run:   run(func(ctx context.Context, t *Trial) (patience, error) { return patient(ctx, t, 8) }),
		},
		{Name: "http", About: "web.HTTP on web.Serve, over loopback sockets", Run: run(patientHTTP)},
	}
	return c
}

// overloaded offers the loads one after the other.
func overloaded(ctx context.Context, t *Trial, p patience) error {
	sustained, err := sustain(ctx, p, t.N/4, t.N >= leastJudged)
	if err != nil {
		return err
	}
	offer := func(name string, times float64, n int) ([]arrival, load) {
		all := arrive(ctx, times*sustained, max(1, n), p.do)
		return all, loadOf(name, times*sustained, all)
	}
	_, half := offer("0.5", 0.5, t.N/8)
	_, near := offer("0.9", 0.9, t.N/4)
	during, twice := offer("2.0", 2, t.N)
	after, rest := offer("0.5 after", 0.5, t.N/8)
	t.Stop()
	t.Latencies = twice.answers
	v := verdict{sustained: sustained, loads: []load{half, near, twice, rest},
		recovery: recovered(after, 2*percentile(half.answers, 50)), judged: t.N >= leastJudged}
	for _, a := range during {
		if a.due > 2*time.Second && a.what == answered {
			v.steady = append(v.steady, a.took)
		}
	}
	slices.Sort(v.steady)
	err = v.judge()
	t.Logf("%s", v.table())
	return errors.Join(err, ctx.Err())
}

// sustain measures how many calls a second are answered when a few are always waiting. If strict, none may be
// refused. In a short run, one delay of the machine can cause a refusal, after which the call is repeated.
func sustain(ctx context.Context, p patience, n int, strict bool) (float64, error) {
	const callers = 4 * overloadWorkers
	n = max(n, callers)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			for k := i; k < n && errs[i] == nil; k += callers {
				what, err := p.do(ctx, k)
				for what == refused && !strict && flow.Sleep(ctx, leastWait) == nil {
					what, err = p.do(ctx, k)
				}
				if what != answered {
					errs[i] = fmt.Errorf(
						"the service refuses %d concurrent callers: %w",
						callers,
						errors.Join(err, gateways.ErrOverloaded),
					)
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(began).Seconds(), errors.Join(errs...)
}

func round(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}

// overloadService answers each request after its fixed time.
func overloadService(ctx context.Context, t *Trial) (*flow.Running, error) {
	svc := gateways.NewService(t.Redis, t.In, gateways.ServiceConfig{Group: t.Group,
		Workers: overloadWorkers})
	svc.HandleFunc("slow", func(ctx context.Context, r *gateways.Request) (gateways.Response, error) {
		return gateways.Response{Body: r.Body, ContentType: r.ContentType}, flow.Sleep(ctx, overloadTakes)
	})
	return svc.Graph(flow.DrainTimeout(10 * time.Second)).Start(context.WithoutCancel(ctx))
}

func endOf(ctx context.Context, run *flow.Running, clients ...*gateways.Client) error {
	clean := context.WithoutCancel(ctx)
	var errs []error
	for _, c := range clients {
		errs = append(errs, c.Close(clean))
	}
	_, err := run.Drain(clean)
	return errors.Join(append(errs, err)...)
}
