package tracing

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamerson/streamerson-go/flow"
)

// scope names this package to a provider.
const scope = "github.com/streamerson/streamerson-go/gateways/tracing"

// Option is an option of New and With.
type Option func(*tracer)

// Provider sets where spans go. Its sampler decides which are recorded. Defaults to
// otel.GetTracerProvider().
func Provider(p trace.TracerProvider) Option { return func(t *tracer) { t.spans = p.Tracer(scope) } }

// Stages gives each call of the named stages a span, in all graphs. Without names, all stages get
// spans. Defaults to no stage.
func Stages(names ...string) Option {
	return func(t *tracer) { t.stages, t.all = append(t.stages, names...), t.all || len(names) == 0 }
}

// OneTrace makes the span of each entry a child of the span that wrote it. So all that comes of a
// cause is one trace, and sampled as a whole. By default an entry that no caller waits for begins its
// own trace, with a link.
func OneTrace() Option { return func(t *tracer) { t.oneTrace = true } }

// New makes a tracer for flow.Trace and flow.WithTracer.
func New(opts ...Option) flow.Tracer {
	w3c := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	t := &tracer{propagator: w3c}
	for _, o := range opts {
		o(t)
	}
	if t.spans == nil {
		t.spans = otel.GetTracerProvider().Tracer(scope)
	}
	return t
}

// With returns a context with a tracer. Everything that gets the context is traced: graphs, services
// and hubs that start with it, calls and events of handlers, HTTP requests of a server that runs with
// it. See flow.WithTracer.
func With(ctx context.Context, opts ...Option) context.Context {
	return flow.WithTracer(ctx, New(opts...))
}

// tracer is a flow.Tracer.
type tracer struct {
	spans      trace.Tracer
	propagator propagation.TextMapPropagator
	stages     []string
	all        bool // stages get spans
	oneTrace   bool
}

// Stage implements flow.Tracer.
func (t *tracer) Stage(_, stage string) bool { return t.all || slices.Contains(t.stages, stage) }

// Begin implements flow.Tracer.
func (t *tracer) Begin(ctx context.Context, w flow.Work) flow.Span {
	switch w.Kind {
	case flow.WorkEntry:
		return t.entry(ctx, &w)
	case flow.WorkJoin:
		return t.join(ctx, &w)
	}
	return t.child(ctx, &w)
}
