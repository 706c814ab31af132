package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/streamerson/streamerson-go/flow"
)

// A source reads no more than it has credits for: a slow sink stops the reader, not the process.
func ExampleMaxInFlight() {
	orders := queueOf(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	err := flow.New("shop", flow.To(orders.source(flow.MaxInFlight(3)), discard[int]())).Run(context.Background())
	fmt.Println("done:", len(orders.acked), "most in flight:", orders.peak, "error:", err)
	// Output:
	// done: 10 most in flight: 3 error: <nil>
}

// lines is a Reader of JSON lines that knows the sizes of its entries.
type lines struct {
	rest  []string
	reads []int // entries per Read
}

func (l *lines) Read(_ context.Context, in *flow.Intake[int]) error {
	in.Grow(min(in.Room(), len(l.rest)))
	for in.Room() > 0 && len(l.rest) > 0 {
		line := l.rest[0]
		if in.Len() > 0 && in.Bytes() < len(line) {
			break // no credits for it now; the first entry passes whatever its size
		}
		l.rest = l.rest[1:]
		meta := flow.Meta{ID: fmt.Sprint("line ", in.Seq()+1)}
		var v int
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			in.AddBad(meta, len(line), err)
			continue
		}
		in.Add(v, meta, len(line))
	}
	l.reads = append(l.reads, in.Len())
	if len(l.rest) == 0 {
		return io.EOF
	}
	return nil
}

// If entries have sizes, credits also limit bytes.
func ExampleMaxBytes() {
	l := &lines{rest: []string{"1001", "1002", "1003", "1004", "1005"}}
	in := flow.NewSource("lines", func() flow.Reader[int] { return l }, flow.MaxBytes(10))
	err := flow.New("sums", flow.To(in, discard[int]())).Run(context.Background())
	fmt.Println("of 5 lines the first read took", l.reads[0], "error:", err)
	// Output:
	// of 5 lines the first read took 2 error: <nil>
}

// An entry that cannot be decoded is a fault of its own. The fault policy decides on it, and the
// other entries continue.
func ExampleIntake_AddBad() {
	in := flow.NewSource("lines", func() flow.Reader[int] { return &lines{rest: []string{"1", "two", "3"}} },
		flow.OnFault(func(f *flow.Fault) flow.Decision {
			fmt.Println(f.Meta.ID+":", f.Err)
			return flow.Drop(f)
		}))
	err := flow.New("sums", flow.To(in, printing[int]())).Run(context.Background())
	fmt.Println("error:", err)
	// Output:
	// line 2: invalid character 'w' in literal true (expecting 'r')
	// 1
	// 3
	// error: <nil>
}

// A source declares that it redelivers nacked entries and that it can store dead letters. Without
// these traits a nack or a dead letter stops the graph, so nothing is lost silently.
func ExampleTraits_redelivers() {
	sold := func(_ context.Context, s string) (string, error) { return s, errors.New("sold out") }
	run := func(in flow.Source[string], p flow.Policy) error {
		return flow.New("shop", flow.To(mapTo(in, sold, flow.OnFault(p)), discard[string]())).Run(context.Background())
	}
	err := run(from("tea"), flow.Nack)
	fmt.Println(errors.Is(err, flow.ErrNotRedeliverable), err)

	orders := queueOf("tea") // its source redelivers and keeps dead letters
	orders.deliveries = 3
	fmt.Println(run(orders.source(), flow.Nack), orders.dead)
	// Output:
	// true flow: graph "shop": stage "map": flow: source cannot deliver the message again: sold out
	// <nil> [tea: delivered 3 times: sold out]
}

// A source that cannot store dead letters can give up an entry only by stopping.
func ExampleTraits_deadLetters() {
	in := flow.NewSource("lines", func() flow.Reader[int] { return &lines{rest: []string{"1"}} })
	bad := mapTo(in, func(_ context.Context, n int) (int, error) { return n, flow.Reject(errors.New("hopeless")) })
	fmt.Println(flow.New("sums", flow.To(bad, discard[int]())).Run(context.Background()))
	// Output:
	// flow: graph "sums": stage "map": message line 1: flow: source cannot deliver the message again: rejected: hopeless
}

// ChunkSize is the maximum number of messages that a sink gets, or a source is asked for, at once.
func ExampleChunkSize() {
	largest := 0
	chunks := flow.NewSink("chunks", func() flow.Writer[int] {
		return flow.WriterFunc[int](func(_ context.Context, chunk []flow.Message[int]) error {
			largest = max(largest, len(chunk))
			return nil
		})
	}, flow.ChunkSize(2))
	err := flow.New("sums", flow.To(from(1, 2, 3, 4, 5), chunks)).Run(context.Background())
	fmt.Println("at most two:", largest <= 2, "error:", err)
	// Output:
	// at most two: true error: <nil>
}

// If Read never blocks, a source needs no goroutine of its own.
func ExampleTraits_inline() {
	numbers := flow.NewSource(
		"numbers",
		func() flow.Reader[int] { return &list[int]{rest: []int{1, 2}} },
		flow.Traits{Inline: true},
	)
	g := flow.New("sums", flow.To(numbers, printing[int]()))
	fmt.Println("own goroutine:", g.Describe().Links[0].Edge)
	fmt.Println(g.Run(context.Background()))
	// Output:
	// own goroutine: false
	// 1
	// 2
	// <nil>
}
