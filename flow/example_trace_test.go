package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// printer is a tracer that prints the spans that end. Package gateways/tracing has one for
// OpenTelemetry.
type printer struct{}

func (printer) Stage(_, _ string) bool { return false }

func (printer) Begin(ctx context.Context, w flow.Work) flow.Span {
	if w.Kind == flow.WorkWrite {
		return printed{"write to " + w.Stream}
	}
	return printed{fmt.Sprintf("entry %s of %s", w.Meta.ID, w.Graph)}
}

type printed struct{ name string }

type printedKey struct{}

func (p printed) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, printedKey{}, p.name)
}
func (p printed) Headers() flow.Headers { return nil }
func (p printed) Fault(f *flow.Fault, d flow.Decision) {
	fmt.Println(p.name, "failed:", f.Err, "->", d.Do)
}
func (p printed) Status(int)                  {}
func (p printed) Error(err error)             { fmt.Println(p.name, "noted:", err) }
func (p printed) End(o flow.Outcome, _ error) { fmt.Println(p.name, "ended:", o) }

var quiet = flow.Log(slog.New(slog.DiscardHandler))

func ExampleTrace() {
	half := func(ctx context.Context, v int) (int, error) {
		if v%2 == 1 {
			return 0, flow.Reject(fmt.Errorf("%d is odd", v))
		}
		return v / 2, nil
	}
	halves := mapTo(queueOf(9).source(), half)
	_ = flow.New("halves", flow.To(halves, discard[int]()), flow.Trace(printer{}), quiet).Run(context.Background())
	// Output:
	// entry 1 of halves failed: rejected: 9 is odd -> dead letter
	// entry 1 of halves ended: dead
}

func ExampleWithTracer() {
	ctx := flow.WithTracer(context.Background(), printer{}) // for all graphs, calls and routes of a program
	fmt.Println(flow.TracerOf(ctx) == printer{})
	fmt.Println(flow.TracerOf(flow.WithTracer(ctx, nil)))
	// Output:
	// true
	// <nil>
}

// A handler may use the tracer of its graph.
func ExampleTracerOf() {
	look := func(ctx context.Context, v int) (int, error) {
		fmt.Println("traced:", flow.TracerOf(ctx) != nil)
		return v, nil
	}
	_ = flow.New("g", flow.To(mapTo(from(1), look), discard[int]())).Run(context.Background())
	// Output:
	// traced: false
}

// An error that is answered is no fault, but belongs into the trace.
func ExampleNoteError() {
	answer := func(ctx context.Context, v int) (int, error) {
		flow.NoteError(ctx, errors.New("no such number"))
		return -1, nil
	}
	g := flow.New("g", flow.To(mapTo(queueOf(1).source(), answer), discard[int]()), flow.Trace(printer{}))
	_ = g.Run(context.Background())
	// Output:
	// entry 1 of g noted: no such number
	// entry 1 of g ended: acked
}

// A sink that passes the trace on begins a span for each message, and writes its headers.
func ExampleBeginWrite() {
	out := flow.NewSink("out", func() flow.Writer[int] {
		return flow.WriterFunc[int](func(ctx context.Context, chunk []flow.Message[int]) error {
			for _, m := range chunk {
				if span := flow.BeginWrite(ctx, m, "numbers", false); span != nil {
					// … write m with span.Headers() …
					span.End(flow.Acked, nil)
				}
			}
			return nil
		})
	})
	_ = flow.New("g", flow.To(queueOf(1).source(), out), flow.Trace(printer{})).Run(context.Background())
	// Output:
	// write to numbers ended: acked
	// entry 1 of g ended: acked
}

// A sink that handles the messages of a chunk one by one gives each its span.
func ExampleContextOf() {
	numbers := queueOf(1, 2)
	numbers.deliveries = 1
	out := flow.NewSink("out", func() flow.Writer[int] {
		return flow.WriterFunc[int](func(ctx context.Context, chunk []flow.Message[int]) error {
			for _, m := range chunk {
				fmt.Println(m.Value, "in", flow.ContextOf(ctx, m).Value(printedKey{}))
			}
			return nil
		})
	}, flow.Within(time.Minute)) // a chunk waits for more
	_ = flow.New("g", flow.To(numbers.source(), out), flow.Trace(printer{})).Run(context.Background())
	// Output:
	// 1 in entry 1 of g
	// 2 in entry 2 of g
	// entry 1 of g ended: acked
	// entry 2 of g ended: acked
}
