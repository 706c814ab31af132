package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// A graph ends when its sources have ended. If it is interrupted before, it drains: messages
// already read are finished first.
func ExampleGraph_Run() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	loud := mapTo(from("to be", "or not"), flow.Pure(strings.ToUpper))
	err := flow.New("shout", flow.To(loud, printing[string]())).Run(ctx)
	fmt.Println("error:", err)
	// Output:
	// TO BE
	// OR NOT
	// error: <nil>
}

// The context is cancelled while the first message is being handled. All messages already read are
// finished and acknowledged.
func ExampleGraph_Run_gracefulStop() {
	ctx, interrupt := context.WithCancel(context.Background())
	orders := queueOf("tea", "milk", "honey")
	orders.stays = true // it has no end, like a stream

	packed := mapTo(orders.source(), func(ctx context.Context, order string) (string, error) {
		interrupt()                                  // as Ctrl-C might, at the first message
		return "packed " + order, context.Cause(ctx) // the handlers' context goes on
	})
	err := flow.New("shop", flow.To(packed, printing[string]())).Run(ctx)
	fmt.Println("acked:", orders.acked, "error:", err)
	// Output:
	// packed tea
	// packed milk
	// packed honey
	// acked: [tea milk honey] error: <nil>
}

// A graph stops by itself when a message fails and the policy is to stop, or when a stage fails too
// often. The error names the stage and the entry.
func ExampleGraph_Run_failure() {
	counts := mapTo(queueOf("1", "2", "three").source(), func(_ context.Context, s string) (int, error) {
		var n int
		_, err := fmt.Sscan(s, &n)
		return n, err
	}, flow.Name("parse"), flow.OnFault(flow.Stop))
	err := flow.New("sums", flow.To(counts, discard[int]())).Run(context.Background())

	var failed *flow.StageError
	if errors.As(err, &failed) {
		fmt.Println("stage:", failed.Stage)
		fmt.Println("entry:", failed.ID)
		fmt.Println("cause:", failed.Err)
	}
	// Output:
	// stage: parse
	// entry: 3
	// cause: expected integer
}

// A service starts its graph and continues. The first signal drains the graph; the second one ends
// the process.
func ExampleGraph_Start() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	g := flow.New("shop", flow.To(queueOf("tea").source(), printing[string]()), flow.DrainTimeout(20*time.Second))
	running, err := g.Start(ctx)
	if err != nil {
		log.Fatal(err) // the error of Validate
	}
	// … serve HTTP, for one …
	select {
	case <-ctx.Done():
	case <-running.Done():
	}
	stop() // from now on signals have their default effect
	if err := running.Wait(); err != nil {
		log.Fatal(err)
	}
}

// Drain ends a graph and returns a report of what it has done.
func ExampleRunning_Drain() {
	orders := queueOf("tea", "milk")
	orders.stays = true
	packed := make(chan string, 2)
	running, err := flow.New("shop", flow.To(orders.source(), each("pack", func(s string) { packed <- s }))).
		Start(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("packed", <-packed)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	report, err := running.Drain(ctx)
	fmt.Printf("%d settled, %d given back, error: %v\n", report.Settled, report.Released, err)
	fmt.Println("state:", running.State())
	// Output:
	// packed tea
	// 2 settled, 0 given back, error: <nil>
	// state: ended
}

// Stop cancels the handlers' contexts and does not wait for them. Unfinished entries go back.
func ExampleRunning_Stop() {
	orders := queueOf("tea", "milk")
	started := make(chan struct{})
	slow := mapTo(orders.source(), func(ctx context.Context, order string) (string, error) {
		close(started)
		<-ctx.Done() // slow work
		fmt.Println("told:", context.Cause(ctx))
		return "", ctx.Err()
	})
	running, err := flow.New("shop", flow.To(slow, printing[string]())).Start(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	<-started
	err = running.Stop()
	fmt.Printf("given back: %d, error: %v\n", running.Report().Released, err)
	// Output:
	// told: flow: graph stopped
	// given back: 2, error: <nil>
}

// A paused graph finishes the messages already read, and its sources read no more.
func ExampleRunning_Pause() {
	orders := queueOf("tea")
	orders.stays = true
	running, err := flow.New("shop", flow.To(orders.source(), discard[string]())).Start(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	running.Pause()
	fmt.Println(running.State())
	running.Resume()
	fmt.Println(running.State())
	fmt.Println(running.Stop())
	// Output:
	// paused
	// active
	// <nil>
}

// A snapshot reports what the sources, the stages and the edges between goroutines have done so
// far.
func ExampleRunning_Snapshot() {
	ctx := context.Background()
	loud := mapTo(queueOf("tea", "milk", "honey").source(), func(_ context.Context, s string) (string, error) {
		if s == "milk" {
			return "", flow.Skip
		}
		return strings.ToUpper(s), nil
	})
	running, err := flow.New("shout", flow.To(loud, discard[string]())).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	running.Wait()

	s := running.Snapshot(ctx)
	fmt.Println(s.Graph, s.State)
	for _, src := range s.Sources {
		fmt.Printf(
			"%s: read %d, acked %d, dropped %d, in flight %d\n",
			src.Name,
			src.Read,
			src.Acked,
			src.Dropped,
			src.InFlight,
		)
	}
	for _, st := range s.Stages {
		fmt.Printf("%s: in %d, out %d, faults %d\n", st.Name, st.In, st.Out, st.Faults)
	}
	for _, e := range s.Edges {
		fmt.Printf("%s -> %s: %d messages\n", e.From, e.To, e.Messages)
	}
	// Output:
	// shout ended
	// queue: read 3, acked 2, dropped 1, in flight 0
	// queue: in 3, out 3, faults 0
	// map: in 3, out 2, faults 0
	// discard: in 2, out 2, faults 0
	// queue -> map: 3 messages
}

// A graph may have many branches. They start and end together.
func ExampleNew() {
	err := flow.New("shop",
		flow.To(from("tea"), printing[string]()),
		flow.To(mapTo(from("milk"), flow.Pure(strings.ToUpper)), printing[string](), flow.Name("print loud")),
		flow.DrainTimeout(10*time.Second),
		flow.Faults(flow.Retry(5, time.Second, flow.Stop)),
	).Run(context.Background())
	fmt.Println("error:", err)
	// Unordered output:
	// tea
	// MILK
	// error: <nil>
}

// A sink is only a description, so it may end several branches. To adds options for one of them.
func ExampleTo() {
	orders := queueOf("tea", "milk", "honey")
	shelf := printing[string]()
	g := flow.New("shop", flow.To(orders.source(), shelf, flow.Name("shelf"), flow.ChunkSize(2)))
	fmt.Println(g.Run(context.Background()))
	fmt.Println("acked:", orders.acked) // messages that a sink has written are acknowledged
	// Output:
	// tea
	// milk
	// honey
	// <nil>
	// acked: [tea milk honey]
}

// A program's main function. Ctrl-C finishes the messages already read; a second Ctrl-C gives them
// back.
func ExampleGraph_RunUntilInterrupt() {
	g := flow.New("hello", flow.To(from("hello", "world"), printing[string]()))
	if err := g.RunUntilInterrupt(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Output:
	// hello
	// world
}
