package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// byHand is a hand-written client and service.
type byHand struct {
	t         *Trial
	caller    redis.UniversalClient
	hangUp    func() error
	deadlines bool // requests carry a deadline
	mu        sync.Mutex
	waiting   map[string]chan string
	out       chan handRequest
	next      atomic.Int64
}

type handRequest struct {
	id, v   string
	headers []any // more fields of the entry: names and values
}

const (
	handBatch    = 512
	handPatience = 30 * time.Second // hundreds of callers wait at once
)

func callByHand(ctx context.Context, t *Trial) (call, error) {
	h := newByHand(t)
	return h.start(ctx, h.serve)
}

func newByHand(t *Trial) *byHand {
	h := &byHand{t: t, waiting: make(map[string]chan string), out: make(chan handRequest, handBatch)}
	h.caller, h.hangUp = t.another()
	return h
}

func (h *byHand) start(ctx context.Context, service ...func(context.Context) error) (call, error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- all(ctx, append(service, h.receive, h.send)...) }() // call.end waits for it
	return call{raw: h.raw, end: func() error {
		cancel()
		return errors.Join(ignoreCancel(<-done), h.hangUp())
	}}, nil
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (h *byHand) raw(ctx context.Context, body []byte) ([]byte, error) {
	answer, err := h.call(ctx, string(body), nil)
	return []byte(answer), err
}

// Price returns the reply to a request, and the output for an input of transform: both are JSON.
func Price(body []byte) ([]byte, error) {
	var o order
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, err
	}
	return json.Marshal(priced(o))
}

func (h *byHand) call(ctx context.Context, v string, headers []any) (string, error) {
	id := strconv.FormatInt(h.next.Add(1), 36)
	c := make(chan string, 1)
	h.mu.Lock()
	h.waiting[id] = c
	h.mu.Unlock()
	h.out <- handRequest{id, v, headers}
	select {
	case v := <-c:
		return v, nil
	case <-time.After(handPatience):
		return "", context.DeadlineExceeded
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// serve answers the requests that it reads, and acknowledges them behind the answers.
func (h *byHand) serve(ctx context.Context) error {
	for ctx.Err() == nil {
		got, err := h.t.Redis.XReadGroup(ctx, &redis.XReadGroupArgs{Group: h.t.Group, Consumer: "c",
			Streams: []string{h.t.In, ">"}, Count: handBatch,
			Block: blockFor}).
			Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		pipe, ids := h.t.Redis.Pipeline(), make([]string, 0, len(got[0].Messages))
		for _, m := range got[0].Messages {
			answer, err := Price([]byte(m.Values["data"].(string)))
			if err != nil {
				return err
			}
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: m.Values["reply"].(string), MaxLen: 16_384, Approx: true,
				Values: []any{"id", m.Values["id"], "data", answer}})
			ids = append(ids, m.ID)
		}
		pipe.XAck(ctx, h.t.In, h.t.Group, ids...)
		if _, err := pipe.Exec(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// receive dispatches the replies to their callers.
func (h *byHand) receive(ctx context.Context) error {
	for last := "0"; ctx.Err() == nil; {
		got, err := h.caller.XRead(ctx, &redis.XReadArgs{Streams: []string{h.t.Out, last}, Count: handBatch,
			Block: blockFor}).
			Result()
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

// send writes all queued requests in one pipeline.
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
		pipe := h.caller.Pipeline()
		for _, r := range batch {
			values := append([]any{"data", r.v, "type", "price", "id", r.id, "reply", h.t.Out}, r.headers...)
			if h.deadlines {
				values = append(values, "deadline", time.Now().Add(handPatience).UnixMilli())
			}
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: h.t.In, MaxLen: 10_000, Approx: true, Values: values})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
}
