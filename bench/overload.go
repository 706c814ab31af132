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

// The service of overload has this many workers, each of which takes this long for a request
// without computing. So its capacity is known, and the machine's cores do not limit it.
const (
	overloadWorkers = 16
	overloadTakes   = 8 * time.Millisecond
	overloadTaken   = 4 * overloadTakes // to handle all requests that a service takes by default
	overloadMaxWait = 250 * time.Millisecond
)

// The promises. The client's MaxWait is left at its default.
const (
	leastGoodput = 0.9 // share of the sustainable rate, at twice that rate
	// The time that answered requests may take more than the usual p99. Clients need three samples
	// to detect overload. Meanwhile the queue grows to MaxWait, or slightly longer.
	mostOnset      = 2*overloadMaxWait + overloadTaken
	mostSteady     = overloadMaxWait/2 + overloadTaken // after the first two seconds
	mostMedian     = 80 * time.Millisecond             // medians: MaxWait/10, the requests taken, a third for noise
	mostRefusal    = 10 * time.Millisecond             // p99, from the time it was sent
	mostRecovery   = 2 * time.Second
	mostNearMisses = 0.01 // share of requests at 0.9 that may be refused
	leastJudged    = 20_000
	mostLate       = 30 * time.Millisecond // p99: beyond it the machine is busy with other work
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
		{Name: "http", About: "gateways.HTTP on gateways.Serve, over loopback sockets", Run: run(patientHTTP)},
	}
	return c
}

// patience is a way to make requests that tolerates refusals.
type patience struct {
	do  func(context.Context, int) (outcome, error)
	end func() error
}

// overloaded offers the loads one after the other.
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

// sustain measures how many calls a second are answered when a few are always waiting.
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

// verdict holds the measurements and compares them with the promises.
type verdict struct {
	sustained float64
	loads     []load          // at half, near, twice, and half again
	steady    []time.Duration // latencies at twice from the third second on, sorted
	recovery  time.Duration
	judged    bool // times are judged too
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
					"times are not judged: requests were sent up to %v late because the machine is busy",
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
	promise(failures == 0, false, "%d requests were neither answered nor refused, want none", failures)
	promise(len(half.refusals) == 0, true, "at half, %d requests were refused, want none", len(half.refusals))
	promise(
		share(near) <= mostNearMisses,
		true,
		"at 0.9, %.2f %% were refused, want at most %.0f %%",
		100*share(near),
		100*mostNearMisses,
	)
	promise(
		twice.goodput >= leastGoodput*v.sustained,
		true,
		"at twice, %.2f of the sustainable rate was answered, want at least %.2f",
		twice.goodput/v.sustained,
		leastGoodput,
	)
	p99, steady := percentile(twice.answers, 99), percentile(v.steady, 99)
	promise(
		p99 <= usual+mostOnset,
		true,
		"p99 of answers at twice is %v, want at most %v: the p99 at half, twice MaxWait, and the requests taken",
		round(p99),
		round(usual+mostOnset),
	)
	promise(
		steady <= usual+mostSteady,
		true,
		"p99 of answers at twice after the first two seconds is %v, want at most %v: half of MaxWait once",
		round(steady),
		round(usual+mostSteady),
	)
	p50, usually := percentile(twice.answers, 50), percentile(half.answers, 50)
	promise(
		p50 <= usually+mostMedian,
		true,
		"p50 of answers at twice is %v, want at most %v",
		round(p50),
		round(usually+mostMedian),
	)
	no := percentile(twice.refusals, 99)
	promise(no <= mostRefusal, true, "p99 of refusals at twice is %v, want at most %v", round(no), mostRefusal)
	promise(
		v.recovery <= mostRecovery,
		true,
		"latency was back to usual within %v after it, want at most %v",
		v.recovery,
		mostRecovery,
	)
	if len(broken) > 0 {
		return errors.Join(errors.New(strings.Join(broken, "; ")), failure)
	}
	return nil
}

// share returns the refused share of a load.
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

// overloadService answers each request after its fixed time.
func overloadService(ctx context.Context, t *Trial) (*flow.Running, error) {
	svc := gateways.NewService(t.Redis, t.In, gateways.ServiceConfig{Group: t.Group,
		Concurrency: []flow.StageOption{flow.Workers(overloadWorkers), flow.Unordered()}})
	svc.HandleFunc("slow", func(ctx context.Context, r *gateways.Request) (gateways.Response, error) {
		return gateways.Response{Body: r.Body, ContentType: r.ContentType}, flow.Sleep(ctx, overloadTakes)
	})
	return svc.Graph(flow.DrainTimeout(10 * time.Second)).Start(context.WithoutCancel(ctx))
}

// patient makes requests through several clients in turn.
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

// patientHTTP makes requests over HTTP, with as many connections as needed.
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

// browsers is a pool of at most mostBrowsers connections, of which one is always free.
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
	if err != nil { // the connection is unusable
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
		return browser{}, fmt.Errorf("%d requests wait for an answer, which exceeds the limit", many)
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
