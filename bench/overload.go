package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// A service of overload has so many workers, each of which takes so long for a request and computes
// nothing: what it can do is known, and the cores of the machine are not what bounds it.
const (
	overloadWorkers = 16
	overloadTakes   = 8 * time.Millisecond
	// until a service that has taken what it takes by default comes to the last of it
	overloadTaken   = 4 * overloadTakes
	overloadMaxWait = 250 * time.Millisecond
)

// What is promised. MaxWait of the client is left at its default.
const (
	leastGoodput = 0.9 // of what is sustainable, at twice that
	// What the answered may take more than the usual p99. At first clients have to see what comes:
	// it takes them three looks, in which the queue grows as long as MaxWait allows, or a little
	// longer.
	mostOnset  = 2*overloadMaxWait + overloadTaken
	mostSteady = overloadMaxWait/2 + overloadTaken // behind the first two seconds
	// likewise of the medians: a tenth of MaxWait, what the service has taken, and a third for
	// chance
	mostMedian     = 80 * time.Millisecond
	mostRefusal    = 10 * time.Millisecond // p99, from when it was asked: at once
	mostRecovery   = 2 * time.Second
	mostNearMisses = 0.01 // of the requests at 0.9 that may be refused
	leastJudged    = 20_000
	mostLate       = 30 * time.Millisecond // p99: beyond it the machine is busy with other things
)

// overload is no race: it offers a service more than it can do, and looks at what becomes of the requests.
func overload() Case {
	c := calls(overloadWorkers)
	c.Name, c.About = "overload", fmt.Sprintf(
		"half, 0.9 times and twice of what %d workers of %v can answer, in an open loop; n requests at twice",
		overloadWorkers,
		overloadTakes,
	)
	c.Reference, c.N, c.Payload, c.ByRate, c.Explicit = "client", 40_000, 100, false, true
	c.Check = func(ctx context.Context, t *Trial) error {
		groups, err := t.Redis.XInfoGroups(ctx, t.In).Result()
		if err == nil && (len(groups) != 1 || groups[0].Pending != 0 || groups[0].Lag != 0) {
			err = fmt.Errorf("the service has left something: %+v", groups)
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
			About: "eight of them, as in as many processes",
			Run:   run(func(ctx context.Context, t *Trial) (patience, error) { return patient(ctx, t, 8) }),
		},
		{Name: "http", About: "gateways.HTTP on gateways.Serve, over sockets of the loopback", Run: run(patientHTTP)},
	}
	return c
}

// patience is a way to ask that does not mind a refusal.
type patience struct {
	do  func(context.Context, int) (outcome, error)
	end func() error
}

// overloaded offers one load after the other.
func overloaded(ctx context.Context, t *Trial, p patience) error {
	sustained, err := sustain(ctx, p, t.N/4)
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

// sustain is how many calls a second are answered when there are always some that wait, but not many.
func sustain(ctx context.Context, p patience, n int) (float64, error) {
	const callers = 4 * overloadWorkers
	n = max(n, callers)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			for k := i; k < n && errs[i] == nil; k += callers {
				what, err := p.do(ctx, k)
				if what != answered {
					errs[i] = fmt.Errorf(
						"%d callers at once are too many: %w",
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

// verdict is what was found, and what was promised.
type verdict struct {
	sustained float64
	loads     []load          // at half, near, twice, and half again
	steady    []time.Duration // of the answered at twice, from the third second on, sorted
	recovery  time.Duration
	judged    bool // by the clock too
	lines     []string
}

func (v *verdict) judge() error {
	var broken []string
	for _, l := range v.loads {
		if late := percentile(l.late, 99); late > mostLate && v.judged {
			v.judged = false
			v.lines = append(
				v.lines,
				fmt.Sprintf(
					"not judged by the clock: requests were sent up to %v late, "+
						"so the machine is busy with other things",
					round(late),
				),
			)
		}
	}
	promise := func(ok, timed bool, format string, args ...any) {
		word := "pass"
		switch what := fmt.Sprintf(format, args...); {
		case timed && !v.judged:
			word = "    "
			fallthrough
		case ok:
			v.lines = append(v.lines, word+"  "+what)
		default:
			v.lines = append(v.lines, "FAIL  "+what)
			broken = append(broken, what)
		}
	}
	half, near, twice := v.loads[0], v.loads[1], v.loads[2]
	usual := percentile(half.answers, 99)
	failures := 0
	var failure error
	for _, l := range v.loads {
		failures += l.failures
		failure = errors.Join(failure, l.failure)
	}
	promise(failures == 0, false, "%d requests came to another end than an answer or a refusal, want none", failures)
	promise(len(half.refusals) == 0, true, "at half %d were refused, want none", len(half.refusals))
	promise(
		share(near) <= mostNearMisses,
		true,
		"at 0.9 %.2f %% were refused, want %.0f %% at most",
		100*share(near),
		100*mostNearMisses,
	)
	promise(
		twice.goodput >= leastGoodput*v.sustained,
		true,
		"at twice %.2f of what is sustainable was answered, want %.2f at least",
		twice.goodput/v.sustained,
		leastGoodput,
	)
	p99, steady := percentile(twice.answers, 99), percentile(v.steady, 99)
	promise(
		p99 <= usual+mostOnset,
		true,
		"p99 of the answered at twice is %v, want %v at most: the p99 at half, twice MaxWait, and what the service "+
			"has taken",
		round(p99),
		round(usual+mostOnset),
	)
	promise(
		steady <= usual+mostSteady,
		true,
		"p99 of the answered at twice behind the first two seconds is %v, want %v at most: half of MaxWait once",
		round(steady),
		round(usual+mostSteady),
	)
	p50, usually := percentile(twice.answers, 50), percentile(half.answers, 50)
	promise(
		p50 <= usually+mostMedian,
		true,
		"p50 of the answered at twice is %v, want %v at most",
		round(p50),
		round(usually+mostMedian),
	)
	no := percentile(twice.refusals, 99)
	promise(no <= mostRefusal, true, "p99 of the refused at twice is %v, want %v at most", round(no), mostRefusal)
	promise(
		v.recovery <= mostRecovery,
		true,
		"usual latency came back within %v after it, want %v at most",
		v.recovery,
		mostRecovery,
	)
	if len(broken) > 0 {
		return errors.Join(errors.New(strings.Join(broken, "; ")), failure)
	}
	return nil
}

// share is how much of a load was refused.
func share(l load) float64 {
	return float64(len(l.refusals)) / float64(max(1, len(l.refusals)+len(l.answers)+l.failures))
}

func round(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}

func (v *verdict) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sustainable: %.0f calls/s\n", v.sustained)
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "load\toffered/s\tanswered/s\tof sustainable\tp50\tp99\trefused\tp50\tp99\telse\tloop late, p99\t\n")
	for _, l := range v.loads {
		fmt.Fprintf(
			tw,
			"%s\t%.0f\t%.0f\t%.2f\t%v\t%v\t%d\t%v\t%v\t%d\t%v\t\n",
			l.name,
			l.offered,
			l.goodput,
			l.goodput/v.sustained,
			round(percentile(l.answers, 50)),
			round(percentile(l.answers, 99)),
			len(l.refusals),
			round(
				percentile(l.refusals, 50),
			),
			round(percentile(l.refusals, 99)),
			l.failures,
			round(percentile(l.late, 99)),
		)
	}
	_ = tw.Flush() // into memory
	for _, line := range v.lines {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// overloadService answers what it is asked, in its time.
func overloadService(ctx context.Context, t *Trial) (*flow.Running, error) {
	svc := gateways.NewService(t.Redis, t.In, gateways.ServiceConfig{Group: t.Group,
		Concurrency: []flow.StageOption{flow.Workers(overloadWorkers), flow.Unordered()}})
	svc.HandleFunc("slow", func(ctx context.Context, r *gateways.Request) (gateways.Response, error) {
		return gateways.Response{Body: r.Body, ContentType: r.ContentType}, flow.Sleep(ctx, overloadTakes)
	})
	return svc.Graph(flow.DrainTimeout(10 * time.Second)).Start(context.WithoutCancel(ctx))
}

// patient asks by clients, in turn.
func patient(ctx context.Context, t *Trial, clients int) (patience, error) {
	run, err := overloadService(ctx, t)
	if err != nil {
		return patience{}, err
	}
	all := make([]*gateways.Client, clients)
	asks := make([]func(context.Context, string) (string, error), clients)
	for i := range all {
		all[i] = gateways.NewClient(t.Redis, t.In, gateways.ClientConfig{Group: t.Group})
		asks[i] = gateways.Call[string, string](all[i], "slow")
	}
	v := payloadsOf(t.Payload)
	return patience{
		do: func(ctx context.Context, i int) (outcome, error) {
			want := string(v.at(i))
			got, err := asks[i%clients](ctx, want)
			var over *gateways.OverloadError
			switch {
			case err == nil:
				err = compareText(got, want)
			case errors.As(err, &over) && over.RetryAfter > 0:
				return refused, nil
			}
			if err != nil {
				return failed, err
			}
			return answered, nil
		},
		end: func() error { return endOf(ctx, run, all...) },
	}, nil
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

// patientHTTP asks over HTTP, by as many connections as it takes.
func patientHTTP(ctx context.Context, t *Trial) (patience, error) {
	run, err := overloadService(ctx, t)
	if err != nil {
		return patience{}, err
	}
	client := gateways.NewClient(t.Redis, t.In, gateways.ClientConfig{Group: t.Group})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return patience{}, errors.Join(err, endOf(ctx, run, client))
	}
	mux := http.NewServeMux()
	mux.Handle("POST /", gateways.HTTP(client, "slow"))
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- serveGateways(serving, l, mux) }() // end waits for it
	b := &browsers{addr: l.Addr().String()}
	v := payloadsOf(t.Payload)
	return patience{
		do: func(_ context.Context, i int) (outcome, error) {
			want := string(v.at(i))
			got, err := b.exchange(want)
			switch {
			case err != nil:
				return failed, err
			case got.status == http.StatusServiceUnavailable && got.retryAfter != "":
				return refused, nil
			case got.status != http.StatusOK:
				return failed, fmt.Errorf("answered %d: %.200q", got.status, got.body)
			}
			if err := compareText(string(got.body), `"`+want+`"`); err != nil {
				return failed, err
			}
			return answered, nil
		},
		end: func() error {
			b.hangUp()
			stop()
			return errors.Join(<-done, endOf(ctx, run, client))
		},
	}, nil
}

// browsers are connections, at most mostBrowsers, of which there is always one that is free.
type browsers struct {
	addr string

	mu   sync.Mutex
	free []browser
	all  []net.Conn
}

const mostBrowsers = 4096

func (b *browsers) exchange(v string) (page, error) {
	k, err := b.take()
	if err != nil {
		return page{}, err
	}
	got, err := k.exchange(v)
	if err != nil { // it is of no more use
		_ = k.Close()
		return got, err
	}
	b.mu.Lock()
	b.free = append(b.free, k)
	b.mu.Unlock()
	return got, nil
}

func (b *browsers) take() (browser, error) {
	b.mu.Lock()
	if last := len(b.free) - 1; last >= 0 {
		k := b.free[last]
		b.free = b.free[:last]
		b.mu.Unlock()
		return k, nil
	}
	many := len(b.all)
	b.mu.Unlock()
	if many >= mostBrowsers {
		return browser{}, fmt.Errorf("%d requests wait for an answer: more than may", many)
	}
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		return browser{}, err
	}
	b.mu.Lock()
	b.all = append(b.all, c)
	b.mu.Unlock()
	return browser{c, bufio.NewReader(c)}, nil
}

func (b *browsers) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.all {
		_ = c.Close()
	}
}
