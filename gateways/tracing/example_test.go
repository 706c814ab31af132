package tracing_test

import (
	"context"
	"fmt"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/tracing"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// printed returns a provider, and a function that prints its spans. Programs use an exporter, such as
// that of OTLP.
func printed() (*sdk.TracerProvider, func()) {
	spans := tracetest.NewInMemoryExporter()
	return sdk.NewTracerProvider(sdk.WithSyncer(spans)), func() {
		for _, span := range spans.GetSpans() {
			fmt.Println(span.Name, span.SpanKind)
		}
	}
}

func doubled() flow.Source[int] {
	double := func(_ context.Context, v int) (int, error) { return 2 * v, nil }
	return operators.Map(source.Of(1), double, flow.Name("double"))
}

func ExampleWith() {
	provider, show := printed() // or none: the default is otel's global provider
	ctx := tracing.With(context.Background(), tracing.Provider(provider))
	if err := flow.New("numbers", flow.To(doubled(), sink.Discard[int]())).Run(ctx); err != nil {
		fmt.Println(err)
	}
	show()
	// Output:
	// process numbers internal
}

func ExampleNew() {
	provider, show := printed()
	tracer := tracing.New(tracing.Provider(provider)) // for this graph only
	g := flow.New("numbers", flow.To(doubled(), sink.Discard[int]()), flow.Trace(tracer))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	show()
	// Output:
	// process numbers internal
}

func ExampleProvider() {
	some := sdk.ParentBased(sdk.TraceIDRatioBased(0.01)) // 1 % of the traces
	provider := sdk.NewTracerProvider(sdk.WithSampler(some))
	ctx := tracing.With(context.Background(), tracing.Provider(provider))
	fmt.Println(flow.TracerOf(ctx) != nil)
	// Output:
	// true
}

func ExampleStages() {
	provider, show := printed()
	ctx := tracing.With(context.Background(), tracing.Provider(provider), tracing.Stages("double"))
	if err := flow.New("numbers", flow.To(doubled(), sink.Discard[int]())).Run(ctx); err != nil {
		fmt.Println(err)
	}
	show()
	// Output:
	// double internal
	// process numbers internal
}

func ExampleOneTrace() {
	ctx := tracing.With(context.Background(), tracing.OneTrace()) // entries continue the traces of their senders
	fmt.Println(flow.TracerOf(ctx) != nil)
	// Output:
	// true
}
