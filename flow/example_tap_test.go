package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/streamerson/streamerson-go/flow"
)

// The sink of a tap may fail as it likes.
func ExampleTap() {
	broken := flow.NewSink("statistics", func() flow.Writer[string] {
		return flow.WriterFunc[string](func(context.Context, []flow.Message[string]) error {
			return errors.New("disk full")
		})
	})
	orders, statistics := flow.Tap(from("tea", "milk"), "sample", broken)
	g := flow.New("shop", flow.To(orders, printing[string]()), statistics, flow.Log(slog.New(slog.DiscardHandler)))
	fmt.Println(g.Run(context.Background()))
	// Output:
	// tea
	// milk
	// <nil>
}

// Each number makes rounds until it is at most 3.
func ExampleFeedback() {
	small := flow.Feedback(from(9, 2), "shrink", 100,
		func(loop flow.Source[int]) (out, back flow.Source[int]) {
			sides := flow.Route(loop, "large?", 2, func() flow.RouteFunc[int, int] {
				return func(_ context.Context, m flow.Message[int], emit func(int, flow.Message[int])) error {
					if m.Value <= 3 {
						emit(0, m)
					} else {
						emit(1, flow.Derive(m, m.Value-3))
					}
					return nil
				}
			})
			return sides[0], sides[1]
		})
	fmt.Println(flow.New("shrinking", flow.To(small, printing[int]())).Run(context.Background()))
	// Unordered output:
	// 3
	// 2
	// <nil>
}
