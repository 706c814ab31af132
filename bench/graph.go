package bench

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// numbers is the cheapest possible source. It emits ascending numbers, and adds up
// acknowledgements.
type numbers struct {
	next, max int
	acked     *int
}

func (r *numbers) Read(_ context.Context, in *flow.Intake[int]) error {
	for in.Room() > 0 {
		if r.next == r.max {
			return io.EOF
		}
		in.AddValue(r.next)
		r.next++
	}
	return nil
}

// Commit adds up acknowledged messages. Its only caller is a goroutine that ends before the graph
// does.
func (r *numbers) Commit(_ context.Context, settled []flow.Settlement) error {
	for i := range settled {
		if settled[i].Outcome == flow.Acked {
			*r.acked++
		}
	}
	return nil
}

// adder is a sink that sums the values.
func adder(t *Trial) flow.Sink[int] {
	return flow.NewSink("add", func() flow.Writer[int] {
		return flow.WriterFunc[int](func(_ context.Context, chunk []flow.Message[int]) error {
			for i := range chunk {
				t.Got.AddInt(chunk[i].Value)
			}
			return nil
		})
	})
}

// runNumbers runs a graph from numbers to adder and checks that each number was acknowledged.
func runNumbers(
	ctx context.Context, t *Trial, through func(flow.Source[int]) flow.Source[int], opts ...flow.StageOption,
) error {
	return runParts(ctx, t, func(src flow.Source[int]) []flow.Part {
		return []flow.Part{flow.To(through(src), adder(t))}
	}, opts...)
}

// runParts is runNumbers for a graph of several branches.
func runParts(
	ctx context.Context, t *Trial, parts func(flow.Source[int]) []flow.Part, opts ...flow.StageOption,
) error {
	acked := 0
	src := flow.NewSource("numbers", func() flow.Reader[int] { return &numbers{max: t.N, acked: &acked} }, opts...)
	if err := flow.New("bench", parts(src)...).Run(ctx); err != nil {
		return err
	}
	if acked != t.N && ctx.Err() == nil {
		return fmt.Errorf("%d of %d messages acknowledged", acked, t.N)
	}
	return nil
}

// operatorsOf makes a chain of operators. The steps with the indices in async run on their own
// goroutines.
func operatorsOf(chain []Step, async ...int) func(flow.Source[int]) flow.Source[int] {
	return func(src flow.Source[int]) flow.Source[int] {
		for i, s := range chain {
			opts := []flow.StageOption{flow.Name(s.Name)}
			if slices.Contains(async, i) {
				opts = append(opts, flow.Async())
			}
			if s.Apply != nil {
				src = operators.Map(src, flow.Pure(s.Apply), opts...)
			} else {
				src = operators.Filter(src, flow.Pure(s.Keep), opts...)
			}
		}
		return src
	}
}

// graphOf runs a chain behind a source with its own goroutine, as blocking sources have.
func graphOf(chain []Step, async ...int) runFunc {
	return func(ctx context.Context, t *Trial) error { return runNumbers(ctx, t, operatorsOf(chain, async...)) }
}

// graphInline runs a chain on its source's goroutine, as in-memory sources do.
func graphInline(chain []Step) runFunc {
	return func(ctx context.Context, t *Trial) error {
		return runNumbers(ctx, t, operatorsOf(chain), flow.Traits{Inline: true})
	}
}

// graphWorkers runs the heavy map with workers.
func graphWorkers(order string) runFunc {
	return func(ctx context.Context, t *Trial) error {
		opts := []flow.StageOption{flow.Workers(poolSize)}
		switch order {
		case "unordered":
			opts = append(opts, flow.Unordered())
		case "keyed":
			opts = append(opts, flow.KeyedBy(func(v int) int { return v % 1000 }))
		}
		return runNumbers(ctx, t, func(src flow.Source[int]) flow.Source[int] {
			return operators.Map(src, flow.Pure(grind), opts...)
		})
	}
}
