package tracing_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/tracing"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// stand collects the spans of a test.
type stand struct {
	ctx   context.Context // traced
	spans *tracetest.InMemoryExporter
	tp    *sdk.TracerProvider
}

func newStand(t *testing.T, sampler sdk.Sampler, opts ...tracing.Option) *stand {
	s := &stand{spans: tracetest.NewInMemoryExporter()}
	s.tp = sdk.NewTracerProvider(sdk.WithSyncer(s.spans), sdk.WithSampler(sampler))
	s.ctx = tracing.With(context.Background(), append(opts, tracing.Provider(s.tp))...)
	return s
}

// start starts a graph and waits until it reads. end drains it.
func (s *stand) start(t *testing.T, g *flow.Graph) (end func()) {
	t.Helper()
	run, err := g.Start(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, g.Name()+" is ready", func() bool { return run.Ready() == nil })
	return func() {
		if _, err := run.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// want compares the traces to a drawing.
func (s *stand) want(t *testing.T, drawing string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(drawing), s.draw()); diff != "" {
		t.Errorf("traces (-want +got):\n%s", diff)
	}
}

// draw draws all traces. A line has the name, the kind, the outcome, the events and the links of a
// span; its children are indented. Siblings, and traces, are sorted.
func (s *stand) draw() string {
	all := s.spans.GetSpans()
	names := make(map[trace.SpanID]string)
	children := make(map[trace.SpanID][]tracetest.SpanStub)
	for _, span := range all {
		names[span.SpanContext.SpanID()] = span.Name
	}
	for _, span := range all {
		parent := span.Parent.SpanID()
		if names[parent] == "" { // a root, or the child of a span that is not ours
			parent = trace.SpanID{}
		}
		children[parent] = append(children[parent], span)
	}
	var draw func(of trace.SpanID, indent string) string
	draw = func(of trace.SpanID, indent string) string {
		var lines []string
		for _, span := range children[of] {
			line := fmt.Sprintf("%s%s (%s)", indent, span.Name, span.SpanKind)
			if o := attr(span.Attributes, "streamerson.outcome"); o != "" && o != "acked" {
				line += " " + o
			}
			if span.Status.Code == codes.Error {
				line += " error " + span.Status.Description
			}
			for _, e := range span.Events {
				line += fmt.Sprintf(" [%s: %s]", e.Name, attr(e.Attributes, "exception.message"))
			}
			for _, l := range span.Links {
				line += " -> " + names[l.SpanContext.SpanID()]
			}
			lines = append(lines, line+"\n"+draw(span.SpanContext.SpanID(), indent+"  "))
		}
		slices.Sort(lines)
		return strings.Join(lines, "")
	}
	return strings.TrimSpace(draw(trace.SpanID{}, ""))
}

func attr(all []attribute.KeyValue, key string) string {
	for _, a := range all {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// span returns the first span of a name.
func (s *stand) span(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	for _, span := range s.spans.GetSpans() {
		if span.Name == name {
			return span
		}
	}
	t.Fatalf("no span %q in:\n%s", name, s.draw())
	return tracetest.SpanStub{}
}
