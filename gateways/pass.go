package gateways

import (
	"context"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// passedKey is the context key of the headers of the current request.
type passedKey struct{}

// PassOn returns a context whose calls and events pass on the trace, the request ID and the
// identity in headers, unless they set their own. The context of a Service's handler already does
// so. PassOn is for graphs, whose stages receive the headers with the message:
//
//	operators.MapMessage(requests, func(ctx context.Context, m flow.Message[Order]) (Quote, error) {
//		return price(gateways.PassOn(ctx, m.Headers()), m.Value)
//	})
func PassOn(ctx context.Context, headers flow.Headers) context.Context {
	return context.WithValue(ctx, passedKey{}, headers)
}

// passed adds to headers what the context passes on. It does not modify the slice.
func passed(ctx context.Context, headers flow.Headers) flow.Headers {
	from, _ := ctx.Value(passedKey{}).(flow.Headers)
	for _, name := range [...]string{traceparent, HeaderRequestID, HeaderIdentity} {
		if v, has := from.Get(name); has {
			if _, own := headers.Get(name); !own {
				headers = append(slices.Clip(headers), flow.Header{Name: name, Value: v})
			}
		}
	}
	return headers
}

// HeaderFor sends a header that depends on the request or on the context; "" sends none. Q must be
// the type of the requests.
func HeaderFor[Q any](name string, value func(context.Context, Q) string) CallOption {
	return func(c *callConfig) {
		c.each = append(c.each, func(ctx context.Context, v any) flow.Header {
			q, _ := v.(Q)
			return flow.Header{Name: name, Value: value(ctx, q)}
		})
	}
}

// with adds the headers that depend on the request.
func (p *plan[Q]) with(ctx context.Context, r Request, q Q) Request {
	for _, each := range p.each {
		if h := each(ctx, q); h.Value != "" {
			r.Headers = append(slices.Clip(r.Headers), h)
		}
	}
	return r
}
