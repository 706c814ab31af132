package gateways

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
)

// CallOption is an option of Call, Send and Stream.
type CallOption func(*plan.Config)

// RouteOption makes each CallOption an option of web.HTTP and web.Route.
func (CallOption) RouteOption() {}

// Header sends a header with each request.
func Header(name, value string) CallOption {
	return func(c *plan.Config) { c.Headers = append(c.Headers, flow.Header{Name: name, Value: value}) }
}

// Timeout limits each call, in addition to its context's deadline.
func Timeout(d time.Duration) CallOption { return func(c *plan.Config) { c.Timeout = d } }

// Keyed gives requests a key, by which a service can keep order. Q must be the type of the
// requests.
func Keyed[Q any](key func(Q) string) CallOption {
	return func(c *plan.Config) {
		c.Key = func(v any) string {
			q, ok := v.(Q)
			if !ok {
				return ""
			}
			return key(q)
		}
	}
}

// HeaderFor sends a header that depends on the request or on the context; "" sends none. Q must be
// the type of the requests.
func HeaderFor[Q any](name string, value func(context.Context, Q) string) CallOption {
	return func(c *plan.Config) {
		c.Each = append(c.Each, func(ctx context.Context, v any) flow.Header {
			q, _ := v.(Q)
			return flow.Header{Name: name, Value: value(ctx, q)}
		})
	}
}

// Call returns a function that sends a request of a type and returns the service's answer. It can
// be passed to operators.Map. For its errors see Client.Do. Values are sent as JSON; strings and
// bytes are sent unchanged.
func Call[Q, R any](c *Client, typ string, opts ...CallOption) func(context.Context, Q) (R, error) {
	p := plan.Of[Q](typ, opts)
	codec := redisio.DefaultCodec[R]()
	return func(ctx context.Context, q Q) (reply R, err error) {
		r, err := requestOf(ctx, &p, q)
		if err != nil {
			return reply, err
		}
		answer, err := c.Do(ctx, r)
		if err != nil {
			return reply, err
		}
		return decode(codec, answer)
	}
}

// Send returns a function that sends a request without an answer. The function returns when Redis
// has stored the request.
func Send[Q any](c *Client, typ string, opts ...CallOption) func(context.Context, Q) error {
	p := plan.Of[Q](typ, opts)
	return func(ctx context.Context, q Q) error {
		r, err := requestOf(ctx, &p, q)
		if err != nil {
			return err
		}
		return c.Send(ctx, r)
	}
}

// Stream returns a function that calls a handler with a streamed reply (see HandleStream). Values
// arrive as the service sends them. A slow reader blocks the service: at most ClientConfig.Window
// values are in flight. A loop that ends early cancels the handler. An error ends the sequence as
// its last element. ErrInterrupted reports that the service's process is gone.
func Stream[Q, R any](c *Client, typ string, opts ...CallOption) func(context.Context, Q) iter.Seq2[R, error] {
	p := plan.Of[Q](typ, opts)
	codec := redisio.DefaultCodec[R]()
	return func(ctx context.Context, q Q) iter.Seq2[R, error] {
		return func(yield func(R, error) bool) {
			var zero R
			if p.Timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, p.Timeout)
				defer cancel()
			}
			r, err := requestOf(ctx, &p, q)
			if err == nil {
				err = c.stream(ctx, r, func(part Response) (bool, error) {
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
func (c *Client) stream(ctx context.Context, r Request, each func(Response) (bool, error)) (err error) {
	defer c.stats.streams.since(ctx, time.Now(), &err)
	defer traces.End(c.trace(ctx, flow.WorkCall, &r), &err)
	if c.speech.keys.Control == "" {
		return &redisio.ConfigError{
			Type:    "Stream",
			Field:   "Wire",
			Problem: "is StreamersonV1, which has no streamed replies",
			Fix:     "use Call",
		}
	}
	r.window = c.cfg.Window
	until, _ := ctx.Deadline() // without a deadline it continues until the reply ends
	p, err := c.ask(ctx, time.Now(), until, &r)
	if err != nil {
		return err
	}
	defer c.forget(r.ID, p)
	taken := 0
	for {
		select {
		case err := <-p.Ev:
			return err
		case <-p.parts.news:
		case <-ctx.Done():
			return c.giveUp(r.ID, p, outbox.GaveUp(ctx))
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

// requestOf makes the request of a value.
func requestOf[Q any](ctx context.Context, p *plan.Plan[Q], q Q) (Request, error) {
	key, body, err := p.Encode(q)
	r := Request{Type: p.Type, Key: key, Body: body, ContentType: p.Codec.ContentType(), Timeout: p.Timeout}
	if err == nil {
		r.Headers = p.With(ctx, p.Headers, q)
	}
	return r, err
}

func decode[R any](codec redisio.Codec[R], r Response) (R, error) {
	v, err := wire.DecodeBody(codec, r.Body, r.ContentType)
	if err != nil {
		return v, fmt.Errorf("gateways: reply of type %q: %w", r.ContentType, err)
	}
	return v, nil
}

// Names of the headers of requests that come from HTTP.
const (
	HeaderMethod    = "http-method"
	HeaderPath      = "http-path"  // escaped
	HeaderQuery     = "http-query" // unparsed, without the question mark
	HeaderPathValue = "http-path-" // followed by the name of the value, such as "http-path-id"
	HeaderRequestID = "request-id"
	HeaderIdentity  = "identity" // the caller's identity, as Authenticate returned it
)

// PassOn returns a context that adds the trace, the request ID and the identity in headers to its
// calls and events, unless they set their own. The context of a Service's handler already does so.
// PassOn is for graphs, because their stages receive the headers with the message:
//
//	operators.MapMessage(requests, func(ctx context.Context, m flow.Message[Order]) (Quote, error) {
//		return price(gateways.PassOn(ctx, m.Headers()), m.Value)
//	})
func PassOn(ctx context.Context, headers flow.Headers) context.Context {
	return plan.PassOn(ctx, headers)
}
