package gateways

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/wait"
	"github.com/streamerson/streamerson-go/redisio"
)

// CallOption is an option of Call, Send and Stream.
type CallOption func(*callConfig)

type callConfig struct {
	headers flow.Headers
	timeout time.Duration
	key     func(any) string
	each    []func(context.Context, any) flow.Header
}

// Header sends a header with each request.
func Header(name, value string) CallOption {
	return func(c *callConfig) { c.headers = append(c.headers, flow.Header{Name: name, Value: value}) }
}

// Timeout limits each call, in addition to its context's deadline.
func Timeout(d time.Duration) CallOption { return func(c *callConfig) { c.timeout = d } }

// Keyed gives requests a key, by which a service can keep order. Q must be the type of the
// requests.
func Keyed[Q any](key func(Q) string) CallOption {
	return func(c *callConfig) {
		c.key = func(v any) string {
			q, ok := v.(Q)
			if !ok {
				return ""
			}
			return key(q)
		}
	}
}

// Call returns a function that sends a request of a type and returns the service's answer. It can
// be passed to operators.Map. For its errors see Client.Do. Values are sent as JSON; strings and
// bytes are sent unchanged.
func Call[Q, R any](c *Client, typ string, opts ...CallOption) func(context.Context, Q) (R, error) {
	p := planOf[Q](typ, opts)
	codec := redisio.DefaultCodec[R]()
	return func(ctx context.Context, q Q) (reply R, err error) {
		r, err := p.request(q)
		if err != nil {
			return reply, err
		}
		answer, err := c.Do(ctx, p.with(ctx, r, q))
		if err != nil {
			return reply, err
		}
		return decode(codec, answer)
	}
}

// Send returns a function that sends a request without an answer. The function returns when Redis
// has stored the request.
func Send[Q any](c *Client, typ string, opts ...CallOption) func(context.Context, Q) error {
	p := planOf[Q](typ, opts)
	return func(ctx context.Context, q Q) error {
		r, err := p.request(q)
		if err != nil {
			return err
		}
		return c.Send(ctx, p.with(ctx, r, q))
	}
}

// Stream returns a function that calls a handler with a streamed reply (see HandleStream). Values
// arrive as the service sends them. A slow reader blocks the service: at most ClientConfig.Window
// values are in flight. A loop that ends early cancels the handler. An error ends the sequence as
// its last element. ErrInterrupted reports that the service's process is gone.
func Stream[Q, R any](c *Client, typ string, opts ...CallOption) func(context.Context, Q) iter.Seq2[R, error] {
	p := planOf[Q](typ, opts)
	codec := redisio.DefaultCodec[R]()
	return func(ctx context.Context, q Q) iter.Seq2[R, error] {
		return func(yield func(R, error) bool) {
			var zero R
			ctx, cancel := p.bound(ctx)
			defer cancel()
			r, err := p.request(q)
			if err == nil {
				err = c.stream(ctx, p.with(ctx, r, q), func(part Response) (bool, error) {
					v, err := decode(codec, part)
					if err != nil {
						return false, err
					}
					return yield(v, nil), nil
				})
			}
			if err != nil {
				yield(zero, err)
			}
		}
	}
}

// stream sends a request and passes the parts of its reply to each until that returns false.
func (c *Client) stream(ctx context.Context, r Request, each func(Response) (bool, error)) error {
	if c.topic.control == "" {
		return &redisio.ConfigError{
			Type:    "Stream",
			Field:   "Wire",
			Problem: "is StreamersonV1, which has no streamed replies",
			Fix:     "use Call",
		}
	}
	r.window = c.cfg.Window
	until, _ := ctx.Deadline() // without a deadline it continues until the reply ends
	p, err := c.ask(ctx, until, &r)
	if err != nil {
		return err
	}
	defer c.forget(r.ID, p)
	taken := 0
	for {
		select {
		case e := <-p.ev:
			return e.err
		case <-p.parts.news:
		case <-ctx.Done():
			return c.giveUp(r.ID, p, gaveUp(ctx))
		}
		have, over, err := p.parts.take()
		for _, part := range have {
			more, err := each(part)
			if !more || err != nil {
				c.cancel(r.ID)
				return err
			}
			if taken++; taken >= (c.cfg.Window+1)/2 && !over {
				select {
				case c.notes <- note{kind: kindMore, id: r.ID, more: taken}:
				case <-ctx.Done():
				}
				taken = 0
			}
		}
		if over {
			return err
		}
	}
}

// plan is the part of a request that is the same for all calls of a function.
type plan[Q any] struct {
	callConfig
	typ   string
	codec redisio.Codec[Q]
}

func planOf[Q any](typ string, opts []CallOption) plan[Q] {
	p := plan[Q]{typ: typ, codec: redisio.DefaultCodec[Q]()}
	for _, o := range opts {
		o(&p.callConfig)
	}
	return p
}

func (p *plan[Q]) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.timeout)
}

func (p *plan[Q]) request(q Q) (Request, error) {
	r := Request{Type: p.typ, ContentType: p.codec.ContentType(), Headers: p.headers, timeout: p.timeout}
	if p.key != nil {
		r.Key = p.key(q)
	}
	var err error
	r.Body, err = p.codec.Append(nil, q)
	return r, err
}

func decode[R any](codec redisio.Codec[R], r Response) (R, error) {
	v, err := decodeBody(codec, r.Body, r.ContentType)
	if err != nil {
		return v, fmt.Errorf("gateways: reply of type %q: %w", r.ContentType, err)
	}
	return v, nil
}

func newBackoff() *backoff.ExponentialBackOff {
	return wait.Backoff(firstRetry, lastRetry)
}
