package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// calls measures request and reply with JSON bodies: each request is an order, and its reply the
// priced order. Client and service run in one process, each with a Redis client of its own.
func calls(callers int) Case {
	n := 60_000
	if callers == 1 {
		n = 5_000
	}
	c := Case{
		Name: "calls-" + strconv.Itoa(callers), callers: callers,
		About:     fmt.Sprintf("n requests over Redis by %d concurrent callers; ratios are of rates", callers),
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
	}
	c.Implementations = []Implementation{
		{Name: "default", Ours: true, About: "gateways.Call and a Service", Run: c.asking(callGateways)},
		{
			Name: "goredis-coalescing",
			About: "go-redis by hand: one coalescing writer, " +
				"one group reader that answers and acks in one pipeline, one reader of replies",
			Run: c.asking(callByHand),
		},
		{
			Name: "goredis-concurrent",
			About: "the same with 64 concurrent handlers, each with the caller's deadline; " +
				"duplicates are answered from memory, and one writer sends replies and acks",
			Run: c.asking(callByHandConcurrently),
		},
	}
	return c
}

// Service answers requests of the calls and http cases.
type Service struct {
	// Call sends an order as JSON, and returns the reply. The handler's work is Price.
	Call func(ctx context.Context, body []byte) ([]byte, error)
	// End stops everything that open started.
	End func() error
}

// Asking returns the Run of an implementation of this calls or http case. It opens a service, and
// its callers call it over HTTP if the case says so, through a small handler on net/http's server.
func (c Case) Asking(open func(context.Context, *Trial) (Service, error)) func(context.Context, *Trial) error {
	opened := func(ctx context.Context, t *Trial) (call, error) {
		s, err := open(ctx, t)
		return call{raw: s.Call, end: s.End}, err
	}
	if c.http {
		return c.askingHTTP(opened, servePlain)
	}
	return c.asking(opened)
}

func (c Case) asking(open func(context.Context, *Trial) (call, error)) runFunc {
	return func(ctx context.Context, t *Trial) error { return ask(ctx, t, c.callers, open) }
}

// call makes requests; end stops everything that serves them.
type call struct {
	do      func(context.Context, *example) error         // makes a request and compares the reply; nil: by raw
	raw     func(context.Context, []byte) ([]byte, error) // the same with encoded bodies
	end     func() error
	client  *gateways.Client // the client of do, or nil
	handler http.Handler     // the handler that serves HTTP requests; nil: one that calls raw
}

// example is a request with its reply.
type example struct {
	order, priced order
	body, answer  []byte // the same, encoded
}

func exampleOf(i, size int) *example {
	x := &example{order: orderAt(i, size)}
	x.priced = priced(x.order)
	x.body, x.answer = encoded(x.order), encoded(x.priced)
	return x
}

func encoded(o order) []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // all its fields can be encoded
	}
	return b
}

func (x *example) got(o order, err error) error {
	if err == nil && o != x.priced {
		return fmt.Errorf("the reply to %+v is %+v", x.order, o)
	}
	return err
}

// over makes the request by raw, with JSON encoded and decoded on this side too.
func (x *example) over(ctx context.Context, raw func(context.Context, []byte) ([]byte, error)) error {
	body, err := json.Marshal(x.order)
	if err != nil {
		return err
	}
	answer, err := raw(ctx, body)
	if err != nil {
		return err
	}
	var o order
	err = json.Unmarshal(answer, &o)
	return x.got(o, err)
}

// ask makes t.N calls in total, distributed over the callers.
func ask(ctx context.Context, t *Trial, callers int, open func(context.Context, *Trial) (call, error)) error {
	examples := make([]*example, callers)
	for i := range examples {
		examples[i] = exampleOf(i, t.Payload)
	}
	c, err := open(ctx, t)
	if err != nil {
		return err
	}
	if c.do == nil {
		c.do = func(ctx context.Context, x *example) error { return x.over(ctx, c.raw) }
	}
	if err := c.do(ctx, examples[0]); err != nil { // opens the connection
		return errors.Join(err, c.end())
	}
	t.connecting++
	t.Start() // connecting is not measured
	var left atomic.Int64
	left.Store(int64(t.N))
	took, errs := make([][]time.Duration, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				if errs[i] = c.do(ctx, examples[i]); errs[i] != nil {
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
	gateways.Handle(svc, "price", func(_ context.Context, o order) (order, error) { return priced(o), nil })
	run, err := svc.Graph(flow.DrainTimeout(10 * time.Second)).Start(context.WithoutCancel(ctx))
	if err != nil {
		return call{}, err
	}
	caller, hangUp := t.another()
	// A machine may be too slow for 512 callers within MaxWait, and a refusal would end the run.
	client := gateways.NewClient(caller, t.In, gateways.ClientConfig{MaxWait: -1, Timeout: handPatience})
	price := gateways.Call[order, order](client, "price")
	return call{
		do: func(ctx context.Context, x *example) error { return x.got(price(ctx, x.order)) },
		raw: func(ctx context.Context, body []byte) ([]byte, error) {
			r, err := client.Do(ctx, gateways.Request{Type: "price", Body: body})
			return r.Body, err
		},
		client: client,
		end: func() error {
			clean := context.WithoutCancel(ctx)
			err := client.Close(clean)
			_, drainErr := run.Drain(clean)
			return errors.Join(err, drainErr, hangUp())
		},
	}, nil
}

// another returns a second client for the same server, as a caller in another process has.
func (t *Trial) another() (_ redis.UniversalClient, hangUp func() error) {
	switch rdb := t.Redis.(type) {
	case *redis.Client:
		o := *rdb.Options()
		second := redis.NewClient(&o)
		return second, second.Close
	case *redis.ClusterClient:
		o := *rdb.Options()
		second := redis.NewClusterClient(&o)
		return second, second.Close
	}
	return t.Redis, func() error { return nil }
}
