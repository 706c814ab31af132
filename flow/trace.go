package flow

import "context"

// Tracer makes the spans of graphs, calls and gateways. Package gateways/tracing has one for
// OpenTelemetry. Its methods must be quick, must not panic, and must be safe for concurrent use.
type Tracer interface {
	// Begin begins a span. Its parent is the span of ctx, or else the one of w.Meta.Headers. The
	// span of a WorkEntry or a WorkJoin has no parent in ctx. Begin never returns nil, because also
	// a span that is not recorded passes its trace on.
	Begin(ctx context.Context, w Work) Span
	// Stage reports whether each call of the stage's handler gets a span, a WorkStage.
	Stage(graph, stage string) bool
}

// Span is a span that has begun. It ends once. Its methods may be called from any goroutine.
type Span interface {
	// Context returns ctx with the span and its baggage.
	Context(ctx context.Context) context.Context
	// Headers returns what carries the span to other processes: traceparent, and tracestate and
	// baggage if there are any.
	Headers() Headers
	// Fault records a fault of a message, and the decision about it.
	Fault(f *Fault, d Decision)
	// Error records an error that does not decide on the message, see NoteError.
	Error(err error)
	// Status records the HTTP status of an answer.
	Status(code int)
	// End ends the span. err is the cause of the outcome, or nil.
	End(o Outcome, err error)
}

// Work is what a span is about. Fields that do not apply are empty.
type Work struct {
	Kind  WorkKind
	Graph string
	Stage string
	// Stream is where the entry comes from or goes to. For a Redis stream it is the key. Group is
	// the consumer group that reads it.
	Stream, Group string
	// Varies means that each entry chooses its Stream, so there may be many.
	Varies bool
	// Meta is the metadata of the entry. Its Headers have the trace context of the sender.
	Meta Meta
	// Links are the spans of the messages of a WorkJoin, or of a WorkStage that handles many.
	Links []Span
	// Protocol of a WorkServe is "http" or "websocket". Method, Route and Path are those of HTTP.
	Protocol, Method, Route, Path string
}

// WorkKind is a kind of Work.
type WorkKind uint8

const (
	// WorkEntry is an entry, from its receipt to the commit of its settlement.
	WorkEntry WorkKind = iota
	// WorkJoin is a message that joins several entries, such as a batch, until it is settled.
	WorkJoin
	// WorkStage is a call of a stage's handler.
	WorkStage
	// WorkWrite is the write of an entry, with its retries.
	WorkWrite
	// WorkCall is a request, from its write to its reply.
	WorkCall
	// WorkServe is a request from outside: over HTTP, or a frame of a WebSocket.
	WorkServe
)

// Names of the headers that carry a trace, see Span.Headers. Native entries have fields of these
// names.
const (
	HeaderTraceparent = "traceparent"
	HeaderTracestate  = "tracestate"
	HeaderBaggage     = "baggage"
)

// Origin is a Reader that knows where its entries come from, for spans. group is "" without a
// consumer group.
type Origin interface {
	Origin() (stream, group string)
}

// Trace sets the graph's tracer. Defaults to the one of the context of Start, see WithTracer.
func Trace(t Tracer) GraphOption { return graphOption(func(c *graphConfig) { c.tracer = t }) }

type tracerKey struct{}

// tracerValue is the value of tracerKey.
type tracerValue struct{ Tracer }

// WithTracer returns a context with a tracer: graphs that start with it are traced, and so are the
// calls, events and HTTP requests that have it or a descendant as their context. The contexts of
// handlers have the tracer of their graph. With nil nothing is traced.
func WithTracer(ctx context.Context, t Tracer) context.Context {
	return context.WithValue(ctx, tracerKey{}, tracerValue{t})
}

// TracerOf returns the tracer of a context, or nil.
func TracerOf(ctx context.Context) Tracer {
	if c, ok := ctx.(*stageContext); ok {
		return c.stage.la.run.tracer
	}
	v, _ := ctx.Value(tracerKey{}).(tracerValue)
	return v.Tracer
}

// ContextOf returns ctx with the span of the entry that m comes from, for Writers that handle the
// messages of a chunk one by one. The context of a handler has the span of its message already.
func ContextOf[T any](ctx context.Context, m Message[T]) context.Context {
	if s := m.lease.span(); s != nil {
		return s.Context(ctx)
	}
	return ctx
}

// NoteError records an error on the span of the message that a handler works on: an error that the
// handler answers, for example, so that the message is done. ctx is the handler's context.
func NoteError(ctx context.Context, err error) {
	if s := stageOf(ctx); s != nil && s.traced.span != nil {
		s.traced.span.Error(err)
	}
}

// BeginWrite begins the span of writing m to a stream, for Writers that pass the trace on. ctx is
// the context of Write. varies means that each message chooses its stream. BeginWrite returns nil
// if the sink is not traced.
func BeginWrite[T any](ctx context.Context, m Message[T], stream string, varies bool) Span {
	s := stageOf(ctx)
	if s == nil || !s.traced.on {
		return nil
	}
	w := Work{Kind: WorkWrite, Graph: s.la.run.graph.name, Stage: s.st.name, Stream: stream, Varies: varies,
		Meta: m.Meta()}
	return s.la.run.tracer.Begin(ContextOf(ctx, m), w)
}
