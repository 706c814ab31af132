package sink_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// run runs a source into a sink and prints the result.
func run[T any](src flow.Source[T], to flow.Sink[T], parts ...flow.Part) {
	fmt.Println(flow.New("example", append(parts, flow.To(src, to))...).Run(context.Background()))
}

func ExampleFunc() {
	tries := 0
	post := func(_ context.Context, v int) error {
		if tries++; tries == 2 {
			return errors.New("the network blinked") // the fault policy retries it
		}
		fmt.Println("posted", v)
		return nil
	}
	run(source.Of(1, 2, 3), sink.Func(post), flow.Faults(flow.Retry(3, time.Millisecond, flow.Stop)))
	// Output:
	// posted 1
	// posted 2
	// posted 3
	// <nil>
}

func ExampleMessages() {
	lines := source.Lines(strings.NewReader("first\nsecond\n"))
	run(lines, sink.Messages(func(_ context.Context, m flow.Message[string]) error {
		fmt.Printf("line %s: %s\n", m.ID(), m.Value)
		return nil
	}))
	// Output:
	// line 1: first
	// line 2: second
	// <nil>
}

func ExampleBatches() {
	insert := func(_ context.Context, rows []int) error {
		fmt.Println("insert", rows)
		errs := make([]error, len(rows))
		for i, row := range rows {
			if row == 3 {
				errs[i] = flow.Skip // a duplicate; the others are inserted
			}
		}
		return &flow.WriteError{Errs: errs}
	}
	full := flow.Within(time.Minute) // a batch waits that long until it is full
	run(source.Of(1, 2, 3, 4), sink.Batches(insert, flow.ChunkSize(2), full))
	// Output:
	// insert [1 2]
	// insert [3 4]
	// <nil>
}

func ExampleChan() {
	c := make(chan int, 10)
	run(source.Of(1, 2, 3), sink.Chan(c))
	close(c) // the caller owns it
	for v := range c {
		fmt.Println(v)
	}
	// Output:
	// <nil>
	// 1
	// 2
	// 3
}

func ExampleWriter() {
	run(source.Of(3, 5, 8), sink.Writer(os.Stdout, func(dst []byte, v int) []byte {
		return append(strconv.AppendInt(dst, int64(v), 2), ' ')
	}))
	// Output: 11 101 1000 <nil>
}

func ExampleLines() {
	run(source.Of("to be", "or not to be"), sink.Lines(os.Stdout))
	// Output:
	// to be
	// or not to be
	// <nil>
}

func ExampleDiscard() {
	run(source.Of(1, 2, 3), sink.Discard[int]())
	// Output: <nil>
}

func ExampleCollect() {
	out, got := sink.Collect[int]()
	run(source.Of(1, 2, 3), out)
	fmt.Println(got.Values())
	// Output:
	// <nil>
	// [1 2 3]
}

// A request is answered by another goroutine.
func ExampleLater() {
	tickets := make(chan *flow.Ticket, 1)
	requests := sink.Later(100, time.Minute, func(_ context.Context, v string, t *flow.Ticket) error {
		fmt.Println("asked for", v)
		tickets <- t
		return nil
	})
	r, err := flow.New("approval", flow.To(source.Of("a holiday"), requests)).Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("approved:", (<-tickets).Ack())
	fmt.Println(r.Wait())
	// Output:
	// asked for a holiday
	// approved: <nil>
	// <nil>
}
