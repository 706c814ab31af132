// Package plan holds what all requests or events of a function have in common, and the headers that
// a context passes on.
package plan

import (
	"context"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
)

// Config is what gateways.CallOption sets.
type Config struct {
	Headers flow.Headers
	Timeout time.Duration
	Key     func(any) string                         // nil: no key
	Each    []func(context.Context, any) flow.Header // headers that depend on the value
}

// Plan is the part of a request or event that is the same for all calls of a function.
type Plan[Q any] struct {
	Config
	Type  string
	Codec redisio.Codec[Q]
}

// Of returns the plan of a type with its options.
func Of[Q any, O ~func(*Config)](typ string, opts []O) Plan[Q] {
	p := Plan[Q]{Type: typ, Codec: redisio.DefaultCodec[Q]()}
	for _, o := range opts {
		o(&p.Config)
	}
	return p
}

// Encode returns the key and the body of a value.
func (p *Plan[Q]) Encode(q Q) (key string, body []byte, err error) {
	if p.Key != nil {
		key = p.Key(q)
	}
	body, err = p.Codec.Append(nil, q)
	return key, body, err
}

// With adds the headers that depend on the value. It does not modify the slice.
func (p *Plan[Q]) With(ctx context.Context, headers flow.Headers, q Q) flow.Headers {
	for _, each := range p.Each {
		if h := each(ctx, q); h.Value != "" {
			headers = append(slices.Clip(headers), h)
		}
	}
	return headers
}

// PassKey is the context key of the headers that PassOn passes on.
type PassKey struct{}

// PassOn returns a context that passes on the trace, the request ID and the identity in headers.
func PassOn(ctx context.Context, headers flow.Headers) context.Context {
	return context.WithValue(ctx, PassKey{}, headers)
}

// passed are the headers that are passed on, those of the trace first.
var passed = [...]string{wire.Traceparent, wire.Tracestate, wire.Baggage, wire.RequestID, wire.Identity}

// Passed adds to headers what the context passes on. It does not modify the slice. Headers with a
// traceparent get nothing of another trace.
func Passed(ctx context.Context, headers flow.Headers) flow.Headers {
	from, _ := ctx.Value(PassKey{}).(flow.Headers)
	names := passed[:]
	if _, own := headers.Get(wire.Traceparent); own {
		names = passed[3:]
	}
	for _, name := range names {
		if v, has := from.Get(name); has {
			if _, own := headers.Get(name); !own {
				headers = append(slices.Clip(headers), flow.Header{Name: name, Value: v})
			}
		}
	}
	return headers
}
