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

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// calls is request and reply: client and service in one process, each request answered with what it carries.
func calls(callers int) Case {
	n := 60_000
	if callers == 1 {
		n = 5_000
	}
	run := func(open func(context.Context, *Trial) (call, error)) runFunc {
		return func(ctx context.Context, t *Trial) error { return ask(ctx, t, callers, open) }
	}
	return Case{
		Name: "calls-" + strconv.Itoa(callers), About: fmt.Sprintf("n requests, answered over Redis, of %d callers at once; ratios are of rates", callers),
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
			{Name: "gateways", About: "gateways.Call, answered by a Service", Run: run(callGateways)},
			{Name: "goredis-coalescing", About: "go-redis by hand: one writer that sends what has come, one group reader that answers and acks in one pipeline, one reader of replies",
				Run: run(callByHand)},
		},
	}
}

// call is one request and its answer, and end what ends all that serves them.
type call struct {
	do      func(context.Context, string) (string, error)
	end     func() error
	client  *gateways.Client // that does it, if one does
	handler http.Handler     // that does it for HTTP; nil: by do
}

// ask has callers make t.N calls in all.
func ask(ctx context.Context, t *Trial, callers int, open func(context.Context, *Trial) (call, error)) error {
	payloads, values := payloadsOf(t.Payload), make([]string, callers)
	for i := range values {
		values[i] = string(payloads.at(i))
	}
	c, err := open(ctx, t)
	if err != nil {
		return err
	}
	if got, err := c.do(ctx, values[0]); err != nil || got != values[0] { // connects
		return errors.Join(err, compareText(got, values[0]), c.end())
	}
	t.connecting++
	t.start() // what counts is calls, and not connecting
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
		return fmt.Errorf("an answer of %d bytes that was meant for another call, or none", len(got))
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
	client := gateways.NewClient(t.Redis, t.In, gateways.ClientConfig{Group: t.Group})
	return call{do: gateways.Call[string, string](client, "echo"), client: client, end: func() error {
		clean := context.WithoutCancel(ctx)
		err := client.Close(clean)
		_, drainErr := run.Drain(clean)
		return errors.Join(err, drainErr)
	}}, nil
}

// byHand is a client and a service as one would write them for this.
type byHand struct {
	t       *Trial
	mu      sync.Mutex
	waiting map[string]chan string
	out     chan handRequest
	next    atomic.Int64
}

type handRequest struct{ id, v string }

const handBatch = 512

func callByHand(ctx context.Context, t *Trial) (call, error) {
	ctx, cancel := context.WithCancel(ctx)
	h := &byHand{t: t, waiting: make(map[string]chan string), out: make(chan handRequest, handBatch)}
	done := make(chan error, 1)
	go func() { done <- all(ctx, h.serve, h.receive, h.send) }() // call.end waits for it
	return call{do: h.do, end: func() error {
		cancel()
		return ignoreCancel(<-done)
	}}, nil
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (h *byHand) do(ctx context.Context, v string) (string, error) {
	id := strconv.FormatInt(h.next.Add(1), 36)
	c := make(chan string, 1)
	h.mu.Lock()
	h.waiting[id] = c
	h.mu.Unlock()
	h.out <- handRequest{id, v}
	select {
	case v := <-c:
		return v, nil
	case <-time.After(10 * time.Second):
		return "", context.DeadlineExceeded
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// serve answers what it reads, and acknowledges it behind the answers.
func (h *byHand) serve(ctx context.Context) error {
	for ctx.Err() == nil {
		got, err := h.t.Redis.XReadGroup(ctx, &redis.XReadGroupArgs{Group: h.t.Group, Consumer: "c", Streams: []string{h.t.In, ">"}, Count: handBatch,
			Block: blockFor}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		pipe, ids := h.t.Redis.Pipeline(), make([]string, 0, len(got[0].Messages))
		for _, m := range got[0].Messages {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: m.Values["reply"].(string), MaxLen: 16_384, Approx: true,
				Values: []any{"id", m.Values["id"], "data", m.Values["data"]}})
			ids = append(ids, m.ID)
		}
		pipe.XAck(ctx, h.t.In, h.t.Group, ids...)
		if _, err := pipe.Exec(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// receive hands out the replies.
func (h *byHand) receive(ctx context.Context) error {
	for last := "0"; ctx.Err() == nil; {
		got, err := h.t.Redis.XRead(ctx, &redis.XReadArgs{Streams: []string{h.t.Out, last}, Count: handBatch, Block: blockFor}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range got[0].Messages {
			last = m.ID
			id := m.Values["id"].(string)
			h.mu.Lock()
			c := h.waiting[id]
			delete(h.waiting, id)
			h.mu.Unlock()
			if c != nil {
				c <- m.Values["data"].(string)
			}
		}
	}
	return nil
}

// send writes what has come, together.
func (h *byHand) send(ctx context.Context) error {
	for {
		var batch []handRequest
		select {
		case r := <-h.out:
			batch = append(batch, r)
		case <-ctx.Done():
			return nil
		}
		for more := true; more && len(batch) < handBatch; {
			select {
			case r := <-h.out:
				batch = append(batch, r)
			default:
				more = false
			}
		}
		pipe := h.t.Redis.Pipeline()
		for _, r := range batch {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: h.t.In, MaxLen: 10_000, Approx: true,
				Values: []any{"data", r.v, "type", "echo", "id", r.id, "reply", h.t.Out}})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
}
