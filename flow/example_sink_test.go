package flow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// store is a Writer. It takes one chunk at a time and reports for each message whether it is
// written.
type store struct{ down int }

func (s *store) Open(context.Context) error { fmt.Println("open"); return nil }

func (s *store) Write(_ context.Context, chunk []flow.Message[string]) error {
	errs := make([]error, len(chunk))
	failed := false
	for i, m := range chunk {
		switch {
		case m.Value == "": // hopeless
			errs[i], failed = flow.Reject(errors.New("no value")), true
		case s.down > 0: // not now: the fault policy decides, and Write is called again with only these
			s.down--
			errs[i], failed = errors.New("no connection"), true
		default:
			fmt.Println("stored", m.Value)
		}
	}
	if failed {
		return &flow.WriteError{Errs: errs}
	}
	return nil
}

// Flush is called at the end, Close after it.
func (s *store) Flush(context.Context) error { fmt.Println("flush"); return nil }

func (s *store) Close(context.Context) error { fmt.Println("close"); return nil }

// A sink is a Writer. Open, Flush and Close are optional. A *WriteError reports which messages of a
// chunk are not written; the others are acknowledged.
func ExampleNewSink() {
	orders := queueOf("tea", "", "jam")
	stored := flow.NewSink("store", func() flow.Writer[string] { return &store{down: 1} },
		flow.OnFault(flow.Retry(3, time.Millisecond, flow.Nack)))
	err := flow.New("shop", flow.To(orders.source(), stored)).Run(context.Background())
	fmt.Println("acked:", len(orders.acked), "dead:", orders.dead, "error:", err)
	// Unordered output:
	// open
	// stored tea
	// stored jam
	// flush
	// close
	// acked: 2 dead: [: rejected: no value] error: <nil>
}

// Two values are written at a time. The last one waits for another, and is written alone at the end.
func ExampleWithin() {
	orders := queueOf("tea", "milk", "jam")
	orders.deliveries = 1
	pairs := flow.NewSink("pairs", func() flow.Writer[string] {
		return flow.WriterFunc[string](func(_ context.Context, chunk []flow.Message[string]) error {
			fmt.Println(len(chunk))
			return nil
		})
	}, flow.ChunkSize(2), flow.Within(time.Minute))
	err := flow.New("shop", flow.To(orders.source(), pairs)).Run(context.Background())
	fmt.Println(err)
	// Output:
	// 2
	// 1
	// <nil>
}
