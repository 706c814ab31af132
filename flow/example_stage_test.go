package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// A map and a filter in one. Messages that are not passed on are done.
func ExampleStep() {
	words := queueOf("tea", "", "jam")
	loud := flow.Step(words.source(), "shout", func() flow.StepFunc[string, string] {
		return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			return flow.Derive(m, strings.ToUpper(m.Value)), m.Value != "", nil
		}
	})
	err := flow.New("words", flow.To(loud, printing[string]())).Run(context.Background())
	fmt.Println("acked:", len(words.acked), "error:", err)
	// Output:
	// TEA
	// JAM
	// acked: 3 error: <nil>
}

// A derived message descends from the same entry. The entry is acknowledged when all messages that
// descend from it are done.
func ExampleDerive() {
	lines := queueOf("to be", "or not")
	words := flow.Via(lines.source(), "split", func() flow.Handler[string, string] {
		return flow.HandlerFunc[string, string](
			func(_ context.Context, m flow.Message[string], emit flow.Emit[string]) error {
				for _, word := range strings.Fields(m.Value) {
					emit(flow.Derive(m, m.ID()+" "+word))
				}
				return nil
			},
		)
	})
	err := flow.New("words", flow.To(words, printing[string]())).Run(context.Background())
	fmt.Println("acked:", len(lines.acked), "error:", err)
	// Output:
	// 1 to
	// 1 be
	// 2 or
	// 2 not
	// acked: 2 error: <nil>
}

// Pure converts a plain function for use with operators.
func ExamplePure() {
	loud := mapTo(from("tea"), flow.Pure(strings.ToUpper))
	fmt.Println(flow.New("shout", flow.To(loud, printing[string]())).Run(context.Background()))
	// Output:
	// TEA
	// <nil>
}

// A new message belongs to no entry. Here it is a heading before the values read.
func ExampleNewMessage() {
	titled := flow.Via(from("tea", "jam"), "title", func() flow.Handler[string, string] {
		first := true
		return flow.HandlerFunc[string, string](
			func(_ context.Context, m flow.Message[string], emit flow.Emit[string]) error {
				if first {
					first = false
					emit(flow.NewMessage("TO BUY", flow.Meta{}))
				}
				emit(m)
				return nil
			},
		)
	})
	fmt.Println(flow.New("list", flow.To(titled, printing[string]())).Run(context.Background()))
	// Output:
	// TO BUY
	// tea
	// jam
	// <nil>
}

// Metadata travels with the message and can be replaced.
func ExampleMessage_WithMeta() {
	m := flow.NewMessage("tea", flow.Meta{ID: "1-0", Key: "kitchen"})
	meta := m.Meta()
	meta.Headers = append(slices.Clone(meta.Headers), flow.Header{Name: "trace", Value: "abc"})
	m = m.WithMeta(meta)

	trace, ok := m.Headers().Get("trace")
	fmt.Println(m.ID(), m.Key(), trace, ok)
	// Output:
	// 1-0 kitchen abc true
}

// Several workers at once keep the order of the input.
func ExampleWorkers() {
	squares := mapTo(from(1, 2, 3, 4, 5), func(_ context.Context, n int) (int, error) {
		return n * n, nil // a slow call
	}, flow.Workers(4))
	fmt.Println(flow.New("squares", flow.To(squares, printing[int]())).Run(context.Background()))
	// Output:
	// 1
	// 4
	// 9
	// 16
	// 25
	// <nil>
}

// If the order does not matter, a slow message does not delay the others. Here the first message is
// done last.
func ExampleUnordered() {
	others := make(chan struct{}, 2)
	out := mapTo(from("slow", "quick", "quick"), func(_ context.Context, s string) (string, error) {
		if s == "slow" {
			<-others
			<-others
		}
		return s, nil
	}, flow.Workers(2), flow.Unordered())
	print := each("print", func(s string) {
		fmt.Println(s)
		if s == "quick" {
			others <- struct{}{}
		}
	})
	fmt.Println(flow.New("race", flow.To(out, print)).Run(context.Background()))
	// Output:
	// quick
	// quick
	// slow
	// <nil>
}

type move struct {
	account string
	amount  int
}

// Messages of one account are handled in order, different accounts concurrently.
func ExampleKeyedBy() {
	moves := from(move{"ann", 10}, move{"bob", 7}, move{"ann", -4}, move{"bob", 1}, move{"ann", 2})
	booked := mapTo(moves, func(_ context.Context, m move) (move, error) { return m, nil },
		flow.Workers(4), flow.KeyedBy(func(m move) string { return m.account }))
	var all []move
	err := flow.New("bank", flow.To(booked, into(&all))).Run(context.Background())

	slices.SortStableFunc(all, func(a, b move) int { return strings.Compare(a.account, b.account) })
	fmt.Println(all, err)
	// Output:
	// [{ann 10} {ann -4} {ann 2} {bob 7} {bob 1}] <nil>
}

// Consecutive stages run as one loop. Async gives a stage a goroutine of its own, so that it works
// concurrently with the stages before it.
func ExampleAsync() {
	same := flow.Pure(func(s string) string { return s })
	parsed := mapTo(from("tea"), same, flow.Name("parse"))
	packed := mapTo(parsed, same, flow.Name("pack"), flow.Async())
	for _, l := range flow.New("shop", flow.To(packed, discard[string]())).Describe().Links {
		fmt.Printf("%s -> %s: own goroutine %v\n", l.From, l.To, l.Edge)
	}
	// Output:
	// values -> parse: own goroutine true
	// parse -> pack: own goroutine true
	// pack -> discard: own goroutine false
}

// A handler that observes its context fails when it takes too long, and the fault policy decides.
func ExampleTimeout() {
	slow := mapTo(from("tea"), func(ctx context.Context, s string) (string, error) {
		<-ctx.Done() // a call that never returns
		return "", ctx.Err()
	}, flow.Timeout(time.Millisecond), flow.OnFault(func(f *flow.Fault) flow.Decision {
		fmt.Println(f.Stage, errors.Is(f, context.DeadlineExceeded))
		return flow.Drop(f)
	}))
	fmt.Println(flow.New("shop", flow.To(slow, printing[string]())).Run(context.Background()))
	// Output:
	// map true
	// <nil>
}

// Transform is for functions from value to value that have state or need the stage they run in. For
// functions without state use operators.Map.
func ExampleTransform() {
	numbered := flow.Transform(from("tea", "jam"), "number", func() func(context.Context, string) (string, error) {
		n := 0 // of this life of the stage
		return func(ctx context.Context, s string) (string, error) {
			n++
			return fmt.Sprintf("%s %d: %s", flow.StageName(ctx), n, s), nil
		}
	}, flow.Traits{OneWorker: "it counts"})
	fmt.Println(flow.New("list", flow.To(numbered, printing[string]())).Run(context.Background()))
	// Output:
	// number 1: tea
	// number 2: jam
	// <nil>
}

// An operator with one state for the whole stage refuses workers, because each worker would have
// its own state.
func ExampleTraits_oneWorker() {
	// a user's options after the operator's own
	opts := []flow.StageOption{flow.Traits{OneWorker: "it counts"}, flow.Workers(4)}
	counted := mapTo(from("tea"), flow.Pure(strings.ToUpper), opts...)
	fmt.Println(flow.New("list", flow.To(counted, printing[string]())).Validate())
	// Output:
	// flow: graph "list": stage "map": Workers: this stage takes no workers; it counts
}

// A handler that paces itself calls Sleep. Finished messages are passed on before it waits, and the
// wait ends with the graph.
func ExampleSleep() {
	slow := mapTo(from("tea", "jam"), func(ctx context.Context, s string) (string, error) {
		return s, flow.Sleep(ctx, time.Millisecond)
	})
	fmt.Println(flow.New("shop", flow.To(slow, printing[string]())).Run(context.Background()))
	// Output:
	// tea
	// jam
	// <nil>
}
