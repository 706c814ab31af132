package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Validate returns all mistakes at once, each with its remedy.
func ExampleGraph_Validate() {
	orders := from("tea", "milk")
	loud := mapTo(orders, flow.Pure(strings.ToUpper), flow.Name("shout"), flow.Workers(0))
	short := mapTo(orders, func(_ context.Context, s string) (string, error) { return s[:1], nil }, flow.Name("cut"))
	g := flow.New("shop",
		flow.To(loud, printing[string](), flow.OnFault(nil)),
		flow.To(short, printing[string]()),
		flow.Restarts(-1, time.Minute, time.Second),
	)
	fmt.Println(g.Validate())
	// Output:
	// flow: graph "shop": Restarts: -1 in 1m0s from 1s; give a count and a backoff of zero or more and a positive window
	// flow: graph "shop": stage "shout": Workers: 0 workers; give 1 or more
	// flow: graph "shop": stage "print": OnFault: the policy is nil; leave the option out, or give a policy
	// flow: graph "shop": stage "values": its output is used 2 times, by "shout", "cut"; a Source may be used once; copy it with operators.FanOut
}

// shop is a blueprint to look at.
func shop() *flow.Graph {
	packed := mapTo(queueOf("tea").source(flow.MaxInFlight(1000)), flow.Pure(strings.ToUpper),
		flow.Name("pack"), flow.Workers(4))
	return flow.New("shop", flow.To(packed, discard[string](), flow.Name("ship")))
}

// Mermaid draws the blueprint so that a README or a web page can show it. Thick arrows cross
// goroutines.
func ExampleGraph_Mermaid() {
	fmt.Print(shop().Mermaid())
	// Output:
	// ---
	// title: shop
	// ---
	// flowchart LR
	//     s0(["queue"])
	//     s1["pack ×4"]
	//     s2[("ship")]
	//     s0 ==> s1
	//     s1 --> s2
}

func ExampleGraph_DOT() {
	fmt.Print(shop().DOT())
	// Output:
	// digraph "shop" {
	//     rankdir=LR
	//     s0 [label="queue" shape=oval]
	//     s1 [label="pack ×4" shape=box]
	//     s2 [label="ship" shape=cylinder]
	//     s0 -> s1 [style=bold]
	//     s1 -> s2
	// }
}

// Describe returns the blueprint as data: the stages, their order, and the bounds of their memory.
func ExampleGraph_Describe() {
	d := shop().Describe()
	for _, s := range d.Stages {
		switch {
		case s.MaxInFlight > 0:
			fmt.Printf("%s %s: at most %d entries in flight\n", s.Kind, s.Name, s.MaxInFlight)
		case s.Workers > 0:
			fmt.Printf("%s %s: %d workers, order %s\n", s.Kind, s.Name, s.Workers, s.Order)
		default:
			fmt.Printf("%s %s\n", s.Kind, s.Name)
		}
	}
	// Output:
	// source queue: at most 1000 entries in flight
	// stage pack: 4 workers, order kept
	// sink ship
}

func ExampleGraph_MarshalJSON() {
	b, err := json.MarshalIndent(flow.New("shop", flow.To(from("tea"), discard[string]())), "", "  ")
	fmt.Println(string(b), err)
	// Output:
	// {
	//   "graph": "shop",
	//   "stages": [
	//     {
	//       "name": "values",
	//       "kind": "source",
	//       "max_in_flight": 4096,
	//       "max_bytes": 67108864,
	//       "chunk": 256
	//     },
	//     {
	//       "name": "discard",
	//       "kind": "sink",
	//       "chunk": 256
	//     }
	//   ],
	//   "links": [
	//     {
	//       "from": "values",
	//       "to": "discard",
	//       "edge": true,
	//       "bound": 1024
	//     }
	//   ]
	// } <nil>
}

// Errors, snapshots and drawings refer to a stage by its name. The name defaults to that of the
// operator, with a number if there are several.
func ExampleName() {
	in := from("tea")
	same := flow.Pure(func(s string) string { return s })
	out := mapTo(mapTo(mapTo(in, same), same, flow.Name("pack")), same)
	for _, s := range flow.New("shop", flow.To(out, discard[string]())).Describe().Stages {
		fmt.Println(s.Name)
	}
	// Output:
	// values
	// map
	// pack
	// map-2
	// discard
}

// An operator that is built of others gives its stage a name of its own.
func ExampleDefaultName() {
	odd := func(in flow.Source[int], opts ...flow.StageOption) flow.Source[int] {
		return every(in, 2, append([]flow.StageOption{flow.DefaultName("odd")}, opts...)...)
	}
	g := flow.New("shop", flow.To(odd(odd(odd(from(1, 2, 3)), flow.Name("mine"))), discard[int]()))
	for _, s := range g.Describe().Stages {
		fmt.Println(s.Name)
	}
	// Output:
	// values
	// odd
	// mine
	// odd-2
	// discard
}

// every is an operator that passes each n-th message. It checks its arguments as the operators of
// this package do.
func every[T any](in flow.Source[T], n int, opts ...flow.StageOption) flow.Source[T] {
	if n < 1 {
		opts = append(opts, flow.Invalid("n", fmt.Sprintf("every %d. message", n), "give 1 or more"))
	}
	return flow.Step(in, "every", func() flow.StepFunc[T, T] {
		seen := 0
		return func(_ context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			seen++
			return m, seen%n == 0, nil
		}
	}, opts...)
}

// Constructors return no error. An operator of your own reports its caller's mistakes by options, and Validate returns
// them with all the others.
func ExampleInvalid() {
	fmt.Println(flow.New("shop", flow.To(every(from(1, 2, 3), 0), printing[int]())).Validate())
	fmt.Println(flow.New("shop", flow.To(every(from(1, 2, 3), 2), printing[int]())).Run(context.Background()))
	// Output:
	// flow: graph "shop": stage "every": n: every 0. message; give 1 or more
	// 2
	// <nil>
}

// InvalidError takes the error of a config's own validation.
func ExampleInvalidError() {
	err := errors.New("queue: the address is empty")
	in := flow.NewSource("queue", func() flow.Reader[int] { return &list[int]{} }, flow.InvalidError(err))
	fmt.Println(flow.New("shop", flow.To(in, printing[int]())).Validate())
	// Output:
	// flow: graph "shop": stage "queue": queue: the address is empty
}

// A stage that waits for more messages than its source lets into the graph would wait forever.
// Validate reports this if the stage declares how many it waits for.
func ExampleTraits() {
	in := from(1, 2, 3)
	hundred := flow.Via(in, "hundred", func() flow.Handler[int, []int] { return &batch[int]{size: 100} },
		flow.Traits{Holds: 100, Joins: true})
	fmt.Println(flow.New("sums", flow.To(hundred, discard[[]int]())).Validate())

	small := queueOf(1, 2, 3).source(flow.MaxInFlight(50))
	hundred = flow.Via(small, "hundred", func() flow.Handler[int, []int] { return &batch[int]{size: 100} },
		flow.Traits{Holds: 100, Joins: true})
	fmt.Println(flow.New("sums", flow.To(hundred, discard[[]int]())).Validate())
	// Output:
	// <nil>
	// flow: graph "sums": stage "hundred": it waits for messages of 100 entries, but source "queue" lets at most 50 into the graph; make it smaller, or give the source flow.MaxInFlight(100) or more
}
