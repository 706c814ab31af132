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

// NoteError records an error on the span of the message that a handler works on. Use it for an
// error that the handler answers, for example, so that the message is done. ctx is the handler's
// context.
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

// Idea of spans: the span of an entry lies next to its lease, so all code that has a message finds
// its span. The stages need it for the context of their calls, and so do the fault policy and the
// sinks. Without a tracer there are no spans, which is checked once per chunk or batch. Spans end
// without any lock held, because a tracer may export them at once.

// traced is the part of a stage about spans. The zero value is for a stage that is not traced.
type traced struct {
	on    bool   // its messages may have spans
	calls bool   // each call gets a span
	span  Span   // of the message being handled; nil if it has no span
	links []Span // of the messages of the chunk being written; nil if it is one message
}

// trace returns the tracer of a run, and ctx with it.
func (c *graphConfig) trace(ctx context.Context) (context.Context, Tracer) {
	if c.tracer != nil {
		ctx = WithTracer(ctx, c.tracer)
	}
	return ctx, TracerOf(ctx)
}

// trace sets up the spans of a stage.
func (s *stageBase) trace() {
	t := s.la.run.tracer
	if t == nil || s.st.node.Untraced {
		return
	}
	s.traced.on, s.traced.calls = true, t.Stage(s.la.run.graph.name, s.st.name)
}

// spanned returns the context of a call, and the span of the call if it gets one. The call of an untraced
// message gets none.
func (s *stageBase) spanned(ctx context.Context) (context.Context, Span) {
	if s.traced.span != nil {
		ctx = s.traced.span.Context(ctx)
	}
	if !s.traced.calls || s.traced.span == nil && s.traced.links == nil {
		return ctx, nil
	}
	call := s.la.run.tracer.Begin(ctx, Work{
		Kind: WorkStage, Graph: s.la.run.graph.name, Stage: s.st.name, Links: s.traced.links,
	})
	return call.Context(ctx), call
}

// guardTraced is guard for a message with a span.
func (s *stageBase) guardTraced(f func(context.Context) error) error {
	ctx, call := s.spanned(s.ctx)
	err := s.guardIn(ctx, f)
	endCall(call, err)
	return err
}

// endCall ends the span of a call, if there is one.
func endCall(call Span, err error) {
	if call == nil {
		return
	}
	if v := verdictOf(err); v != nil {
		call.End(Decision{Do: v.do}.outcome(), err)
	} else if err != nil {
		call.End(Failed, err)
	} else {
		call.End(Acked, nil)
	}
}

// tryTraced is try for a stage that is traced: each message has a context of its own.
func (s *batchStage[T, U]) tryTraced(batch []Message[T], leased bool) (n int, err error) {
	if s.handled = 0; leased && s.lost(batch[0].lease) {
		return s.handled, nil
	}
	outer := s.ctx
	var call Span
	s.traced.span = batch[0].lease.span()
	s.ctx, call = s.spanned(outer)
	n, err = s.try(batch[:1], false)
	s.ctx = outer
	endCall(call, err)
	return n, err
}

// traceChunk sets the span or the links of a chunk that is to be written.
func (s *sinkStage[T]) traceChunk(chunk []Message[T]) {
	s.traced.span, s.traced.links = nil, nil
	if len(chunk) == 1 {
		s.traced.span = chunk[0].lease.span()
	} else if s.traced.calls {
		for i := range chunk {
			s.traced.links = appendSpan(s.traced.links, chunk[i].lease)
		}
	}
}

func appendSpan(spans []Span, l lease) []Span {
	if s := l.span(); s != nil {
		spans = append(spans, s)
	}
	return spans
}

// traceJoin begins the span of a join of several messages, unless none of them has a span.
func (s *stageBase) traceJoin(join *slab) {
	if s.la.run.tracer == nil || len(join.members) < 2 {
		return
	}
	var links []Span
	for _, l := range join.members {
		links = appendSpan(links, l)
	}
	if links == nil {
		return
	}
	w := Work{Kind: WorkJoin, Graph: s.la.run.graph.name, Stage: s.st.name, Links: links}
	join.spans = []Span{s.la.run.tracer.Begin(s.ctx, w)}
}

// trace begins the spans of the entries of a slab.
func (ses *session) trace(sl *slab) {
	s := ses.source
	t := s.run.tracer
	if t == nil || s.node.Untraced {
		return
	}
	sl.spans = make([]Span, len(sl.cells))
	w := Work{Kind: WorkEntry, Graph: s.run.graph.name, Stage: s.name}
	if o, ok := ses.reader.(Origin); ok {
		w.Stream, w.Group = o.Origin()
	}
	for i := range sl.spans {
		if w.Meta = (Meta{}); sl.records != nil {
			w.Meta = sl.records[i].meta()
		}
		sl.spans[i] = t.Begin(s.run.hard, w)
	}
}

// span returns the span of the entry or the join that the lease stands for, or nil.
func (l lease) span() Span {
	for !l.none() {
		s := l.slab
		if j := l.ofJoin(); j != nil {
			l = j.members[l.of-1]
			continue
		}
		if s.spans != nil {
			return s.spans[l.at]
		}
		if len(s.members) != 1 {
			return nil
		}
		l = s.members[0] // watched, or a join of one
	}
	return nil
}

// spanEnd is the end of a span that is due when no lock is held.
type spanEnd struct {
	span    Span
	outcome Outcome
	err     error
}

// endOf returns the end of the span of a lease. The slab has
// spans.
func (s *slab) endOf(at int, how ended) (e spanEnd) {
	e.span, e.outcome = s.spans[at], how.outcome
	switch {
	case s.cells[at].lost():
		e.err = ErrLeaseLost
	case how.fault != nil:
		e.err = how.fault.Err
	}
	return e
}

func endSpans(ends []spanEnd) {
	for _, e := range ends {
		e.span.End(e.outcome, e.err)
	}
}
