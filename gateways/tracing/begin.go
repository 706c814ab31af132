package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamerson/streamerson-go/flow"
)

// entry begins the span of an entry: a child of its sender's span if a caller waits, else the root of
// a trace, with a link.
func (t *tracer) entry(ctx context.Context, w *flow.Work) flow.Span {
	from := t.propagator.Extract(context.Background(), carrier(w.Meta.Headers))
	sender := trace.SpanContextFromContext(from)
	kind, name := trace.SpanKindConsumer, "process "+cut(w.Stream)
	if w.Stream == "" {
		kind, name = trace.SpanKindInternal, "process "+cut(w.Graph)
	}
	opts := append(make([]trace.SpanStartOption, 0, 4), trace.WithSpanKind(kind), trace.WithAttributes(base(w)...))
	switch {
	case sender.IsValid() && (t.oneTrace || w.Meta.ReplyTo != ""):
		ctx = trace.ContextWithRemoteSpanContext(ctx, sender)
	case sender.IsValid():
		opts = append(opts, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: sender}))
	default:
		opts = append(opts, trace.WithNewRoot())
	}
	_, s := t.spans.Start(ctx, name, opts...)
	describe(s, w)
	return &span{t: t, span: s, baggage: baggage.FromContext(from)}
}

// join begins the span of a message that joins others: the root of a trace, with links to all. It has
// no baggage, because that of the others may differ.
func (t *tracer) join(ctx context.Context, w *flow.Work) flow.Span {
	_, s := t.spans.Start(ctx, "batch "+cut(w.Stage), trace.WithNewRoot(), trace.WithLinks(links(w)...),
		trace.WithAttributes(base(w)...))
	describe(s, w)
	return &span{t: t, span: s}
}

func links(w *flow.Work) []trace.Link {
	all := make([]trace.Link, 0, len(w.Links))
	for _, l := range w.Links {
		if of, ok := l.(*span); ok {
			all = append(all, trace.Link{SpanContext: of.span.SpanContext()})
		}
	}
	return all
}

// child begins a span within that of ctx, or else that of the headers.
func (t *tracer) child(ctx context.Context, w *flow.Work) flow.Span {
	around := trace.SpanFromContext(ctx)
	if !around.SpanContext().IsValid() {
		ctx = t.propagator.Extract(ctx, carrier(w.Meta.Headers))
	} else if w.Kind == flow.WorkServe { // a middleware has begun it
		return &span{t: t, span: around, baggage: baggage.FromContext(ctx), theirs: true}
	}
	kind, name := trace.SpanKindInternal, cut(w.Stage)
	switch {
	case w.Kind == flow.WorkCall:
		kind, name = trace.SpanKindProducer, "call "+cut(w.Stream)
	case w.Kind == flow.WorkWrite && (w.Varies || w.Stream == ""):
		kind, name = trace.SpanKindProducer, "send "+cut(w.Stage)
	case w.Kind == flow.WorkWrite:
		kind, name = trace.SpanKindProducer, "send "+cut(w.Stream)
	case w.Kind == flow.WorkServe && w.Protocol == "http":
		kind, name = trace.SpanKindServer, method(w.Method)+" "+cut(w.Route)
	case w.Kind == flow.WorkServe:
		kind, name = trace.SpanKindServer, w.Protocol+" "+cut(w.Route)
	}
	opts := append(make([]trace.SpanStartOption, 0, 3), trace.WithSpanKind(kind), trace.WithAttributes(base(w)...))
	if len(w.Links) > 0 {
		opts = append(opts, trace.WithLinks(links(w)...))
	}
	_, s := t.spans.Start(ctx, name, opts...)
	describe(s, w)
	return &span{t: t, span: s, baggage: baggage.FromContext(ctx)}
}

// describe adds the attributes that no sampler needs.
func describe(s trace.Span, w *flow.Work) {
	if !s.IsRecording() {
		return
	}
	var more [12]attribute.KeyValue
	s.SetAttributes(details(more[:0], w)...)
}
