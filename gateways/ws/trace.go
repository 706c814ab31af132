package ws

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
)

// headers returns what is valid of a client's trace.
func (t *trace) headers() flow.Headers {
	return traces.Outside([]string{t.parent}, []string{t.state}, []string{t.baggage})
}

// traceCall begins the span of a call. It returns its context, and the trace that the call passes on.
// Without a tracer that is the client's, and there is no span.
func (in *incoming) traceCall(ctx context.Context, q *request) (context.Context, flow.Headers, flow.Span) {
	trace := q.trace.headers()
	t := flow.TracerOf(ctx)
	if t == nil {
		return ctx, trace, nil
	}
	span := t.Begin(ctx, flow.Work{
		Kind: flow.WorkServe, Protocol: "websocket", Route: in.s.hub.name,
		Meta: flow.Meta{Type: q.typ, Headers: trace},
	})
	return span.Context(ctx), nil, span // the client of the service begins a span of its own
}

// traceSend begins the span of a message to the workers. It returns the trace that the message
// carries. Without a tracer that is the client's, and there is no span.
func (in *incoming) traceSend(ctx context.Context, q *request) (flow.Headers, flow.Span) {
	trace := q.trace.headers()
	t := flow.TracerOf(ctx)
	if t == nil {
		return trace, nil
	}
	span := t.Begin(ctx, flow.Work{
		Kind: flow.WorkWrite, Stream: in.s.hub.keys.in, Meta: flow.Meta{Type: q.typ, Headers: trace},
	})
	return span.Headers(), span
}
