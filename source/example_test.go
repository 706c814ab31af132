package source_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// show runs a graph that prints each value.
func show[T any](src flow.Source[T], parts ...flow.Part) error {
	out := sink.Func(func(_ context.Context, v T) error {
		fmt.Println(v)
		return nil
	})
	return flow.New("example", append(parts, flow.To(src, out))...).Run(context.Background())
}

func ExampleOf() {
	fmt.Println(show(source.Of("a", "b", "c")))
	// Output:
	// a
	// b
	// c
	// <nil>
}

func ExampleSeq() {
	pages := func(yield func(string, error) bool) { // such as a query's results, page by page
		for _, page := range []string{"page 1", "page 2"} {
			if !yield(page, nil) {
				return // the graph drains: close what is open
			}
		}
		yield("", errors.New("page 3 is missing"))
	}
	fmt.Println(show(source.Seq(pages)))
	// Output:
	// page 1
	// page 2
	// flow: graph "example": stage "seq": source: sequence: page 3 is missing
}

func ExampleValues() {
	ages := map[string]int{"ann": 31, "bob": 27}
	fmt.Println(show(source.Values(slices.Values(slices.Sorted(maps.Keys(ages))))))
	// Output:
	// ann
	// bob
	// <nil>
}

func ExampleChan() {
	c := make(chan int, 3)
	for i := range 3 {
		c <- i
	}
	close(c)
	fmt.Println(show(source.Chan(c)))
	// Output:
	// 0
	// 1
	// 2
	// <nil>
}

func ExampleLines() {
	fmt.Println(show(source.Lines(strings.NewReader("to be\nor not to be\n"))))
	// Output:
	// to be
	// or not to be
	// <nil>
}

func ExampleLinesUpTo() {
	text := "short\nfar too long\nshort again\n"
	lines := source.LinesUpTo(strings.NewReader(text), 11, flow.OnFault(flow.Drop))
	skipped := flow.OnEvent(flow.Hooks{Faulted: func(f *flow.Fault, d flow.Decision) { fmt.Println(f.Err) }})
	out, got := sink.Collect[string]()
	err := flow.New("example", flow.To(lines, out), skipped).Run(context.Background())
	fmt.Println(got.Values(), err)
	// Output:
	// source: line 2 is longer than 11 bytes
	// [short short again] <nil>
}

func ExampleEvery() {
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	ticks := source.Every(time.Millisecond, func(time.Time) int { n++; return n })
	out := sink.Func(func(_ context.Context, v int) error {
		if v <= 3 {
			fmt.Println("tick", v)
		}
		if v == 3 {
			cancel()
		}
		return nil
	})
	fmt.Println(flow.New("clock", flow.To(ticks, out)).Run(ctx))
	// Output:
	// tick 1
	// tick 2
	// tick 3
	// <nil>
}

func ExampleQueue() {
	orders, inbox := source.Queue[string](100)
	book := sink.Func(func(_ context.Context, order string) error {
		if order == "" {
			return flow.Reject(errors.New("empty order"))
		}
		return nil
	})
	running, err := flow.New("orders", flow.To(orders, book)).Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}

	// As in a request handler, the response waits for the outcome of the order.
	for _, order := range []string{"3 apples", ""} {
		err := inbox.Deliver(context.Background(), order)
		var o *source.OutcomeError
		switch {
		case err == nil:
			fmt.Printf("%q: booked\n", order)
		case errors.As(err, &o):
			fmt.Printf("%q: %s: %v\n", order, o.Outcome, o.Err)
		}
	}
	inbox.Close()
	fmt.Println(running.Wait())
	// Output:
	// "3 apples": booked
	// "": dead: rejected: empty order
	// <nil>
}
