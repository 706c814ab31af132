package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// calls measures request and reply: client and service run in one process, and each reply carries
// its request's body.
func calls(callers int) Case {
	n := 60_000
	if callers == 1 {
		n = 5_000
	}
	run := func(open func(context.Context, *Trial) (call, error)) runFunc {
		return func(ctx context.Context, t *Trial) error { return ask(ctx, t, callers, open) }
	}
	return Case{
		Name: "calls-" + strconv.Itoa(
			callers,
		), About: fmt.Sprintf("n requests over Redis by %d concurrent callers; ratios are of rates", callers),
		Reference: "goredis-coalescing", N: n, Redis: true, ByRate: true,
		Setup: func(ctx context.Context, t *Trial) error {
			if err := t.Redis.Unlink(ctx, t.In, t.Out).Err(); err != nil {
				return err
			}
			return t.Redis.XGroupCreateMkStream(ctx, t.In, t.Group, "0").Err()
		},
		Check: func(ctx context.Context, t *Trial) error {
			if len(t.Latencies) != t.N {
				return fmt.Errorf("%d calls were answered, want %d", len(t.Latencies), t.N)
			}
			return drained(ctx, t)
		},
		Implementations: []Implementation{
			{Name: "gateways", About: "gateways.Call and a Service", Run: run(callGateways)},
			{
				Name: "goredis-coalescing",
				About: "go-redis by hand: one coalescing writer, " +
					"one group reader that answers and acks in one pipeline, one reader of replies",
				Run: run(callByHand),
			},
			{
				Name: "goredis-concurrent",
				About: "the same with 64 concurrent handlers, each with the caller's deadline; " +
					"duplicates are answered from memory, and one writer sends replies and acks",
				Run: run(callByHandConcurrently),
			},
		},
	}
}

// call performs one request; end stops everything that serves it.
type call struct {
	do      func(context.Context, string) (string, error)
	end     func() error
	client  *gateways.Client // the client of do, or nil
	handler http.Handler     // the handler that serves HTTP requests; nil: one that calls do
}

// ask makes t.N calls in total, distributed over the callers.
func ask(ctx context.Context, t *Trial, callers int, open func(context.Context, *Trial) (call, error)) error {
	payloads, values := payloadsOf(t.Payload), make([]string, callers)
	for i := range values {
		values[i] = string(payloads.at(i))
	}
	c, err := open(ctx, t)
	if err != nil {
		return err
	}
	if got, err := c.do(ctx, values[0]); err != nil || got != values[0] { // opens the connection
		return errors.Join(err, compareText(got, values[0]), c.end())
	}
	t.connecting++
	t.start() // connecting is not measured
	var left atomic.Int64
	left.Store(int64(t.N))
	took, errs := make([][]time.Duration, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			v := values[i]
			for left.Add(-1) >= 0 {
				began := time.Now()
				got, err := c.do(ctx, v)
				if err != nil || got != v {
					errs[i] = errors.Join(err, compareText(got, v))
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	t.Stop()
	for _, d := range took {
		t.Latencies = append(t.Latencies, d...)
	}
	return errors.Join(errors.Join(errs...), c.end())
}

func compareText(got, want string) error {
	if got != want {
		return fmt.Errorf("got a wrong answer of %d bytes", len(got))
	}
	return nil
}

func callGateways(ctx context.Context, t *Trial) (call, error) {
	svc := gateways.NewService(t.Redis, t.In, gateways.ServiceConfig{Group: t.Group})
	gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
	svc.HandleFunc("as it is", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
		return gateways.Response{Body: r.Body, ContentType: r.ContentType}, nil
	})
	run, err := svc.Graph(flow.DrainTimeout(10 * time.Second)).Start(context.WithoutCancel(ctx))
	if err != nil {
		return call{}, err
	}
	client := gateways.NewClient(t.Redis, t.In, gateways.ClientConfig{Group: t.Group, MaxWait: -1})
	return call{do: gateways.Call[string, string](client, "echo"), client: client, end: func() error {
		clean := context.WithoutCancel(ctx)
		err := client.Close(clean)
		_, drainErr := run.Drain(clean)
		return errors.Join(err, drainErr)
	}}, nil
}
