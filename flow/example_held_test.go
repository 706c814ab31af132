package flow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// The outcome of a joined message applies to all its entries. Here the batch with the bad one
// becomes a dead letter.
func ExampleJoin() {
	orders := queueOf("tea", "milk", "stone", "jam")
	boxes := flow.Via(orders.source(), "box", func() flow.Handler[string, []string] { return &batch[string]{size: 2} },
		flow.Traits{Holds: 2, Joins: true})
	sent := mapTo(boxes, func(_ context.Context, box []string) ([]string, error) {
		if box[0] == "stone" {
			return nil, flow.Reject(errors.New("too heavy"))
		}
		return box, nil
	})
	err := flow.New("shop", flow.To(sent, printing[[]string]())).Run(context.Background())
	fmt.Println(err, "acked:", orders.acked, "dead:", orders.dead)
	// Output:
	// [tea milk]
	// <nil> acked: [tea milk] dead: [stone: rejected: too heavy jam: rejected: too heavy]
}

// latest holds one message and passes on only the last one.
type latest struct{ held *flow.Held[string] }

func (l *latest) Handle(ctx context.Context, m flow.Message[string], _ flow.Emit[string]) error {
	if l.held != nil {
		l.held.Done() // superseded, so it is done
	}
	h := flow.Hold(ctx, m)
	l.held = &h
	return nil
}

func (l *latest) End(_ context.Context, emit flow.Emit[string]) error {
	if l.held != nil {
		emit(l.held.Message)
		l.held.Done() // the emitted message has a share of its own
	}
	return nil
}

// Each hold must end: in Done, in Fail, or joined into another message.
func ExampleHeld_Done() {
	prices := queueOf("1.10", "1.20", "1.15")
	prices.deliveries = 1
	last := flow.Via(
		prices.source(),
		"latest",
		func() flow.Handler[string, string] { return &latest{} },
		flow.Traits{Holds: 1},
	)
	err := flow.New("ticker", flow.To(last, printing[string]())).Run(context.Background())
	fmt.Println("acked:", prices.acked, "error:", err)
	// Output:
	// 1.15
	// acked: [1.10 1.20 1.15] error: <nil>
}

// A hold that fails sends its entry back to its source.
func ExampleHeld_Fail() {
	orders := queueOf("tea")
	orders.deliveries = 2
	refused := flow.Via(orders.source(), "refuse", func() flow.Handler[string, string] {
		return flow.HandlerFunc[string, string](
			func(ctx context.Context, m flow.Message[string], _ flow.Emit[string]) error {
				held := flow.Hold(ctx, m)
				fmt.Println("delivery", m.Attempt())
				held.Fail(errors.New("sold out"))
				return nil
			},
		)
	}, flow.Traits{Holds: 1})
	err := flow.New("shop", flow.To(refused, discard[string]())).Run(context.Background())
	fmt.Println(orders.dead, err)
	// Output:
	// delivery 1
	// delivery 2
	// [tea: delivered 2 times: sold out] <nil>
}

// impatient is a batch that waits no longer than maxAge.
type impatient struct {
	batch[string]
	maxAge time.Duration
	due    time.Time
}

func (b *impatient) Handle(ctx context.Context, m flow.Message[string], emit flow.Emit[[]string]) error {
	if len(b.held) == 0 {
		b.due = time.Now().Add(b.maxAge)
	}
	return b.batch.Handle(ctx, m, emit)
}

// Next returns when to call Ring: never while nothing is held.
func (b *impatient) Next() time.Time {
	if len(b.held) == 0 {
		return time.Time{}
	}
	return b.due
}

func (b *impatient) Ring(ctx context.Context, emit flow.Emit[[]string]) error {
	b.batch.emit(ctx, emit)
	return nil
}

// An Alarm is called at a given time even if no message arrives. Here it keeps a batch from waiting
// forever to be full.
func ExampleAlarm() {
	ctx, interrupt := context.WithCancel(context.Background())
	orders := queueOf("tea")
	orders.stays = true
	boxes := flow.Via(orders.source(), "box", func() flow.Handler[string, []string] {
		return &impatient{batch: batch[string]{size: 100}, maxAge: 50 * time.Millisecond}
	}, flow.Traits{Holds: 100, HoldsFor: 50 * time.Millisecond, Joins: true})
	err := flow.New("shop", flow.To(boxes, each("ship", func(box []string) {
		fmt.Println(box)
		interrupt()
	}))).Run(ctx)
	fmt.Println(err)
	// Output:
	// [tea]
	// <nil>
}
