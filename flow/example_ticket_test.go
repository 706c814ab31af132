package flow_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// Payments wait for an approval. Here a loop approves them; in a service it may be an HTTP handler
// that finds the ticket by the payment's id.
func ExampleLater() {
	payments := queueOf("10 EUR", "1000000 EUR")
	type request struct {
		payment string
		ticket  *flow.Ticket
	}
	requests := make(chan request, 10)
	approval := flow.Later(10, 0, func(_ context.Context, m flow.Message[string], t *flow.Ticket) error {
		requests <- request{m.Value, t}
		return nil
	})
	r, err := flow.New("bank", flow.To(payments.source(), approval)).Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		switch q := <-requests; q.payment {
		case "10 EUR":
			err = q.ticket.Ack()
			fmt.Println("approved:", err, "again:", errors.Is(q.ticket.Ack(), flow.ErrSettled))
		default:
			fmt.Println("refused:", q.ticket.Dead(errors.New("too much")))
		}
	}
	fmt.Println(r.Wait(), "acked:", payments.acked, "dead:", payments.dead)
	// Output:
	// approved: <nil> again: true
	// refused: <nil>
	// <nil> acked: [10 EUR] dead: [1000000 EUR: rejected: too much]
}

// A handler that waits for a long time gives up when its graph drains.
func ExampleDrainStarted() {
	jobs := queueOf("report")
	jobs.deliveries = 2
	ctx, cancel := context.WithCancel(context.Background())
	waiting := mapTo(jobs.source(), func(ctx context.Context, job string) (string, error) {
		cancel() // the process is asked to end
		select {
		case <-flow.DrainStarted(ctx):
			fmt.Println("the graph drains")
			return "", flow.Reject(errors.New("not now"))
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	})
	err := flow.New("office", flow.To(waiting, discard[string]())).Run(ctx)
	fmt.Println(jobs.dead, err)
	// Output:
	// the graph drains
	// [report: rejected: not now] <nil>
}
