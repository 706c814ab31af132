package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
)

// pack fails on stones.
func pack(_ context.Context, s string) (string, error) {
	if s == "stone" {
		return "", errors.New("too heavy")
	}
	return "packed " + s, nil
}

// runPack runs a queue of orders through pack with a policy, and prints the outcomes that the queue
// recorded.
func runPack(orders *queue[string], p flow.Policy) {
	packed := mapTo(orders.source(), pack, flow.OnFault(p))
	err := flow.New("shop", flow.To(packed, printing[string]())).Run(context.Background())
	fmt.Println("acked:", orders.acked, "dropped:", orders.dropped, "dead:", orders.dead, "error:", err)
}

// A poison message is retried a few times and then becomes a dead letter with its error. The other
// messages continue.
func ExampleOnFault() {
	orders := queueOf("tea", "stone", "jam")
	packed := mapTo(orders.source(), pack, flow.OnFault(flow.Retry(2, time.Millisecond, flow.DeadLetter)))
	err := flow.New("shop", flow.To(packed, printing[string]())).Run(context.Background())
	fmt.Println("acked:", orders.acked, "dead:", orders.dead, "error:", err)
	// Output:
	// packed tea
	// packed jam
	// acked: [tea jam] dead: [stone: too heavy] error: <nil>
}

// A panic is a fault like any other. The policy decides on the message, the stage gets a new
// handler, and the graph continues.
func ExamplePanicError() {
	orders := queueOf("tea", "", "jam")
	initials := mapTo(orders.source(), func(_ context.Context, s string) (string, error) {
		return s[:1], nil
	}, flow.OnFault(func(f *flow.Fault) flow.Decision {
		var p *flow.PanicError
		if errors.As(f.Err, &p) {
			fmt.Printf("message %s: %v (and a stack: %v)\n", f.Meta.ID, p.Value, len(p.Stack) > 0)
		}
		return flow.DeadLetter(f)
	}))
	err := flow.New("shop", flow.To(initials, discard[string]())).Run(context.Background())
	fmt.Println("acked:", orders.acked, "dead letters:", len(orders.dead), "error:", err)
	// Output:
	// message 2: runtime error: slice bounds out of range [:1] with length 0 (and a stack: true)
	// acked: [tea jam] dead letters: 1 error: <nil>
}

// A function that calls user code returns its panic as an error.
func ExampleCatch() {
	first := func(s string) (b byte, err error) {
		defer flow.Catch(&err)
		return s[0], nil
	}
	_, err := first("")
	fmt.Println(err)
	// Output: panic: runtime error: index out of range [0] with length 0
}

// Faults sets the policy of all stages that have no policy of their own. A Policy is a function
// that may inspect the fault.
func ExampleFaults() {
	orders := queueOf("tea", "stone", "jam")
	g := flow.New("shop", flow.To(mapTo(orders.source(), pack), discard[string]()),
		flow.Faults(func(f *flow.Fault) flow.Decision {
			fmt.Printf("stage %s, message %s, try %d: %v\n", f.Stage, f.Meta.ID, f.Tries, f.Err)
			if f.Tries < 2 {
				return flow.Decision{Do: flow.ActRetry}
			}
			return flow.Drop(f)
		}))
	fmt.Println(g.Run(context.Background()), "dropped:", orders.dropped)
	// Output:
	// stage map, message 2, try 1: too heavy
	// stage map, message 2, try 2: too heavy
	// <nil> dropped: [stone]
}

// A message that fails temporarily is retried in place, with growing waits.
func ExampleRetry() {
	calls := 0
	flaky := mapTo(queueOf("tea").source(), func(_ context.Context, s string) (string, error) {
		if calls++; calls < 3 {
			return "", errors.New("no connection")
		}
		return fmt.Sprintf("%s after %d calls", s, calls), nil
	}, flow.OnFault(flow.Retry(5, time.Millisecond, flow.Nack)))
	fmt.Println(flow.New("shop", flow.To(flaky, printing[string]())).Run(context.Background()))
	// Output:
	// tea after 3 calls
	// <nil>
}

// A nack gives the entry back. Its source delivers it again, and makes it a dead letter after the
// maximum number of deliveries.
func ExampleNack() {
	orders := queueOf("tea", "stone")
	orders.deliveries = 3
	runPack(orders, flow.Nack)
	// Output:
	// packed tea
	// acked: [tea] dropped: [] dead: [stone: delivered 3 times: too heavy] error: <nil>
}

// With a delay, the source postpones the next delivery, and nothing waits in the graph.
func ExampleNackAfter() {
	orders := queueOf("stone")
	orders.deliveries = 2
	runPack(orders, flow.NackAfter(time.Minute))
	fmt.Println("asked to wait:", orders.delays) // the queue of these examples does not wait
	// Output:
	// acked: [] dropped: [] dead: [stone: delivered 2 times: too heavy] error: <nil>
	// asked to wait: [1m0s 1m0s]
}

// The delay doubles with each delivery, plus or minus half of it.
func ExampleNackBackoff() {
	orders := queueOf("stone")
	orders.deliveries = 2
	runPack(orders, flow.NackBackoff(10*time.Second))
	first, second := orders.delays[0], orders.delays[1]
	fmt.Println(first >= 5*time.Second && first <= 15*time.Second, second >= 10*time.Second && second <= 30*time.Second)
	// Output:
	// acked: [] dropped: [] dead: [stone: delivered 2 times: too heavy] error: <nil>
	// true true
}

func ExampleDeadLetter() {
	runPack(queueOf("stone", "tea"), flow.DeadLetter)
	// Output:
	// packed tea
	// acked: [tea] dropped: [] dead: [stone: too heavy] error: <nil>
}

func ExampleDrop() {
	runPack(queueOf("stone", "tea"), flow.Drop)
	// Output:
	// packed tea
	// acked: [tea] dropped: [stone] dead: [] error: <nil>
}

// If a message must not be skipped, the graph stops and the entry stays in its source.
func ExampleStop() {
	orders := queueOf("stone", "tea")
	packed := mapTo(orders.source(), pack)
	err := flow.New("shop", flow.To(packed, printing[string]()), flow.Faults(flow.Stop)).Run(context.Background())
	fmt.Println(err)
	fmt.Println("left:", orders.left())
	// Output:
	// flow: graph "shop": stage "map": message 1: too heavy
	// left: 2
}

// A handler that knows better than the policy returns a verdict as its error. Skip means that the
// message is not wanted and is done.
func ExampleReject() {
	orders := queueOf("tea", "", "stone")
	checked := mapTo(orders.source(), func(_ context.Context, s string) (string, error) {
		switch s {
		case "":
			return "", flow.Skip
		case "stone":
			return "", flow.Reject(errors.New("we don't sell stones"))
		}
		return s, nil
	})
	fmt.Println(flow.New("shop", flow.To(checked, printing[string]())).Run(context.Background()))
	fmt.Printf("acked: %q dropped: %q dead: %q\n", orders.acked, orders.dropped, orders.dead)
	// Output:
	// tea
	// <nil>
	// acked: ["tea"] dropped: [""] dead: ["stone: rejected: we don't sell stones"]
}

// RetryAfter is the verdict for "not now". The source delivers the message again after the delay.
func ExampleRetryAfter() {
	orders := queueOf("tea")
	sold := flow.Step(orders.source(), "sell", func() flow.StepFunc[string, string] {
		return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			if m.Attempt() == 1 {
				return m, false, flow.RetryAfter(time.Hour, errors.New("we open at nine"))
			}
			return m, true, nil
		}
	})
	fmt.Println(flow.New("shop", flow.To(sold, printing[string]())).Run(context.Background()))
	fmt.Println("asked to wait:", orders.delays) // the queue of these examples does not wait
	// Output:
	// tea
	// <nil>
	// asked to wait: [1h0m0s]
}

// Some errors cannot be fixed by a retry. Permanent marks them, so that they stop the graph at
// once.
func ExamplePermanent() {
	shelf := flow.NewSink("shelf", func() flow.Writer[string] {
		return flow.WriterFunc[string](func(context.Context, []flow.Message[string]) error {
			return flow.Permanent(errors.New("wrong password"))
		})
	})
	err := flow.New("shop", flow.To(queueOf("tea").source(), shelf)).Run(context.Background())
	var failed *flow.StageError
	if errors.As(err, &failed) {
		fmt.Println(failed.Stage, "after", failed.Restarts, "restarts:", failed.Err)
	}
	// Output:
	// shelf after 0 restarts: wrong password
}

// An operator that converts errors must let verdicts and permanent errors pass.
func ExampleVerdict() {
	for _, err := range []error{
		errors.New("no connection"),
		fmt.Errorf("pack: %w", flow.Skip),
		flow.RetryAfter(time.Hour, errors.New("closed")),
		flow.Permanent(errors.New("wrong password")),
	} {
		if d, is := flow.Verdict(err); is {
			fmt.Println(d.Do, d.After)
		} else {
			fmt.Println("no verdict, permanent:", flow.IsPermanent(err))
		}
	}
	// Output:
	// no verdict, permanent: false
	// drop 0s
	// nack 1h0m0s
	// no verdict, permanent: true
}

// unreachable is a Writer with a backend that is down.
type unreachable struct{ flow.WriterFunc[string] }

func (unreachable) Open(context.Context) error { return errors.New("connection refused") }

// A stage that fails as a whole is restarted. After too many restarts within the window the graph
// stops.
func ExampleRestarts() {
	shelf := flow.NewSink("shelf", func() flow.Writer[string] { return unreachable{} })
	err := flow.New("shop", flow.To(queueOf("tea").source(), shelf),
		flow.Restarts(2, time.Minute, time.Millisecond)).Run(context.Background())
	fmt.Println(err)
	// Output:
	// flow: graph "shop": stage "shelf": gave up after 2 restarts: connection refused
}

// Hooks are for metrics and alarms. They are called on events, never per message.
func ExampleOnEvent() {
	done := 0
	packed := mapTo(queueOf("tea", "stone").source(), pack, flow.OnFault(flow.Drop))
	err := flow.New("shop", flow.To(packed, discard[string]()), flow.OnEvent(flow.Hooks{
		Faulted:   func(f *flow.Fault, d flow.Decision) { fmt.Printf("%v: %v\n", f, d.Do) },
		Committed: func(_ string, settled []flow.Settlement) { done += len(settled) },
	})).Run(context.Background())
	fmt.Println("settled:", done, "error:", err)
	// Output:
	// flow: graph "shop": stage "map": message 2: too heavy: drop
	// settled: 2 error: <nil>
}

// A graph logs to the given logger: its lifecycle at Info, faults at Warn.
func ExampleLog() {
	short := zerolog.ConsoleWriter{Out: os.Stdout, NoColor: true, PartsOrder: []string{"level", "message"},
		FieldsExclude: []string{"tries", "attempt", "after"}}
	logger := slog.New(zerolog.NewSlogHandler(zerolog.New(short).Level(zerolog.WarnLevel)))
	packed := mapTo(queueOf("tea", "stone").source(), pack, flow.OnFault(flow.Drop))
	if err := flow.New("shop", flow.To(packed, discard[string]()), flow.Log(logger)).Run(
		context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// WRN message failed error="too heavy" do=drop graph=shop id=2 stage=map
}

// A handler logs with the name of its graph.
func ExampleLogger() {
	weighed := mapTo(queueOf("tea").source(), func(ctx context.Context, name string) (string, error) {
		flow.Logger(ctx).Warn("nearly empty", "name", name)
		return name, nil
	})
	g := flow.New(
		"shop",
		flow.To(weighed, discard[string]()),
		flow.Log(plainLog(slog.LevelWarn).With("service", "packing")),
	)
	if err := g.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// msg="nearly empty" service=packing graph=shop name=tea
}

// The message is retried three times, every millisecond.
func ExampleRetryEvery() {
	orders := queueOf("stone")
	sold := mapTo(orders.source(), func(_ context.Context, order string) (string, error) {
		fmt.Println("try to sell a", order)
		return "", errors.New("too heavy")
	}, flow.OnFault(flow.RetryEvery(3, time.Millisecond, flow.DeadLetter)))
	err := flow.New("shop", flow.To(sold, discard[string]())).Run(context.Background())
	fmt.Println(orders.dead, err)
	// Output:
	// try to sell a stone
	// try to sell a stone
	// try to sell a stone
	// try to sell a stone
	// [stone: too heavy] <nil>
}

// The account's second booking waits until the first has succeeded.
func ExampleHoldKey() {
	bookings := queueOf("anna +10", "anna -10")
	down := 2
	booked := mapTo(bookings.source(), func(_ context.Context, booking string) (string, error) {
		if down--; down >= 0 {
			return "", errors.New("the ledger is down")
		}
		return booking, nil
	}, flow.Workers(4), flow.KeyedBy(func(booking string) string { return booking[:4] }))
	err := flow.New("bank", flow.To(booked, printing[string]()), flow.Faults(flow.HoldKey(0, time.Millisecond))).
		Run(context.Background())
	fmt.Println(err)
	// Output:
	// anna +10
	// anna -10
	// <nil>
}
