package flow_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// batch collects messages. The messages it holds stay unacknowledged. The batch it makes stands for
// all of them, so they are done when the batch is.
type batch[T any] struct {
	size int
	held []flow.Held[T]
}

func (b *batch[T]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[[]T]) error {
	b.held = append(b.held, flow.Hold(ctx, m))
	if len(b.held) == b.size {
		b.emit(ctx, emit)
	}
	return nil
}

// End is called when the input has ended: the rest is a batch too.
func (b *batch[T]) End(ctx context.Context, emit flow.Emit[[]T]) error {
	if len(b.held) > 0 {
		b.emit(ctx, emit)
	}
	return nil
}

func (b *batch[T]) emit(ctx context.Context, emit flow.Emit[[]T]) {
	values := make([]T, len(b.held))
	for i, h := range b.held {
		values[i] = h.Value
	}
	emit(flow.Join(ctx, values, b.held))
	b.held = b.held[:0]
}

// An operator that batches. The traits Holds and Joins declare this, so that Validate can find
// deadlocks.
func ExampleHold() {
	orders := queueOf("tea", "milk", "honey", "bread", "jam")
	orders.deliveries = 1
	boxes := flow.Via(orders.source(), "box", func() flow.Handler[string, []string] { return &batch[string]{size: 2} },
		flow.Traits{Holds: 2, Joins: true})
	err := flow.New("shop", flow.To(boxes, printing[[]string]())).Run(context.Background())
	fmt.Println("acked:", orders.acked, "error:", err)
	// Output:
	// [tea milk]
	// [honey bread]
	// [jam]
	// acked: [tea milk honey bread jam] error: <nil>
}

// Member splits a joined message again. Each part has the metadata of its own message.
func ExampleMember() {
	ctx := context.Background()
	var held []flow.Held[string]
	for _, id := range []string{"1-0", "2-0"} {
		held = append(held, flow.Hold(ctx, flow.NewMessage("of "+id, flow.Meta{ID: id})))
	}
	batch := flow.Join(ctx, []string{held[0].Value, held[1].Value}, held)
	for i, v := range batch.Value {
		fmt.Println(flow.Member(batch, i, v).ID(), v)
	}
	// Output:
	// 1-0 of 1-0
	// 2-0 of 2-0
}
