package tracing

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamerson/streamerson-go/flow"
)

// span is a flow.Span.
type span struct {
	t       *tracer
	span    trace.Span
	baggage baggage.Baggage
	theirs  bool // a middleware ends it
}

// Context implements flow.Span.
func (s *span) Context(ctx context.Context) context.Context {
	ctx = trace.ContextWithSpan(ctx, s.span)
	if s.baggage.Len() > 0 || baggage.FromContext(ctx).Len() > 0 {
		ctx = baggage.ContextWithBaggage(ctx, s.baggage)
	}
	return ctx
}

// Headers implements flow.Span.
func (s *span) Headers() flow.Headers {
	var w written
	s.t.propagator.Inject(s.Context(context.Background()), &w)
	return w.headers
}

// Fault implements flow.Span. The event has the name of the decision, such as "retry".
func (s *span) Fault(f *flow.Fault, d flow.Decision) {
	if !s.span.IsRecording() {
		return
	}
	attrs := append(exception(f.Err), keyStage.String(f.Stage), keyTries.Int(f.Tries))
	if d.After > 0 {
		attrs = append(attrs, keyAfter.Int64(d.After.Milliseconds()))
	}
	s.span.AddEvent(d.Do.String(), trace.WithAttributes(attrs...))
}

// Error implements flow.Span.
func (s *span) Error(err error) {
	if !s.span.IsRecording() {
		return
	}
	s.span.AddEvent("exception", trace.WithAttributes(exception(err)...))
	s.failed(errorType(err), err.Error())
}

func exception(err error) []attribute.KeyValue {
	return []attribute.KeyValue{keyErrorOf.String(errorType(err)), keyMessage.String(cut(err.Error()))}
}

func (s *span) failed(typ, text string) {
	s.span.SetStatus(codes.Error, cut(text))
	s.span.SetAttributes(semconv.ErrorTypeKey.String(typ))
}

// Status implements flow.Span.
func (s *span) Status(code int) {
	if s.theirs || !s.span.IsRecording() {
		return
	}
	s.span.SetAttributes(semconv.HTTPResponseStatusCode(code))
	if code >= 500 {
		s.failed(strconv.Itoa(code), "")
	}
}

// End implements flow.Span.
func (s *span) End(o flow.Outcome, err error) {
	if s.theirs {
		return
	}
	if s.span.IsRecording() {
		s.span.SetAttributes(keyOutcome.String(o.String()))
		if err != nil && o > flow.Dropped {
			s.failed(errorType(err), err.Error())
		}
	}
	s.span.End()
}
