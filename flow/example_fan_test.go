package flow_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/streamerson/streamerson-go/flow"
)

// A stage with several outputs sends each message to the matching one.
func ExampleRoute() {
	parts := flow.Route(from(1, 2, 3, 4, 5), "parity", 2, func() flow.RouteFunc[int, int] {
		return func(_ context.Context, m flow.Message[int], emit func(int, flow.Message[int])) error {
			emit(m.Value%2, m)
			return nil
		}
	})
	var even, odd []int
	err := flow.New("parity", flow.To(parts[0], into(&even)), flow.To(parts[1], into(&odd))).Run(context.Background())
	fmt.Println(even, odd, err)
	// Output:
	// [2 4] [1 3 5] <nil>
}

// Each branch gets a copy. The entry is acknowledged when all branches are done with it.
func ExampleRoute_copies() {
	orders := queueOf("tea", "jam")
	copies := flow.Route(orders.source(), "copies", 2, func() flow.RouteFunc[string, string] {
		return func(_ context.Context, m flow.Message[string], emit func(int, flow.Message[string])) error {
			emit(0, m)
			emit(1, m)
			return nil
		}
	})
	var packed, billed []string
	err := flow.New("shop", flow.To(copies[0], into(&packed)), flow.To(copies[1], into(&billed))).
		Run(context.Background())
	fmt.Println(packed, billed, "acked:", orders.acked, "error:", err)
	// Output:
	// [tea jam] [tea jam] acked: [tea jam] error: <nil>
}

// AnyPort sends a message to any output that has room.
func ExampleRoute_anyPort() {
	tills := flow.Route(from(1, 2, 3, 4), "tills", 2, func() flow.RouteFunc[int, int] {
		return func(_ context.Context, m flow.Message[int], emit func(int, flow.Message[int])) error {
			emit(flow.AnyPort, m)
			return nil
		}
	})
	var a, b []int
	err := flow.New("shop", flow.To(tills[0], into(&a)), flow.To(tills[1], into(&b))).Run(context.Background())
	all := slices.Concat(a, b)
	slices.Sort(all)
	fmt.Println(all, err)
	// Output:
	// [1 2 3 4] <nil>
}

// Two outputs of different types: successes and failures. Errors are a branch like any other.
func ExampleFork() {
	numbers, failed := flow.Fork(
		from("1", "two", "3"),
		"parse",
		func() flow.ForkFunc[string, int, flow.Failure[string]] {
			return func(_ context.Context, m flow.Message[string], ok flow.Emit[int],
				bad flow.Emit[flow.Failure[string]]) error {
				n, err := strconv.Atoi(m.Value)
				if err != nil {
					bad(flow.Derive(m, flow.NewFailure("parse", m, err)))
					return nil
				}
				ok(flow.Derive(m, n))
				return nil
			}
		},
	)
	var sums []int
	var failures []flow.Failure[string]
	err := flow.New("sums", flow.To(numbers, into(&sums)), flow.To(failed, into(&failures))).Run(context.Background())
	fmt.Println(sums, err)
	for _, f := range failures {
		fmt.Printf("%s %q: %v\n", f.Stage, f.Value, f.Err())
	}
	// Output:
	// [1 3] <nil>
	// parse "two": strconv.Atoi: parsing "two": invalid syntax
}

// Merge passes messages on as they arrive. It keeps the order within each input.
func ExampleMerge() {
	all := flow.Merge("orders", []flow.Source[string]{from("tea", "jam"), from("milk")})
	fmt.Println(flow.New("shop", flow.To(all, printing[string]())).Run(context.Background()))
	// Unordered output:
	// tea
	// jam
	// milk
	// <nil>
}
