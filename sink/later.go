package sink

import (
	"context"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Later is a sink whose values are settled later, for example by a webhook or by a person's
// approval. f is called with each value and a ticket, and returns. Any goroutine may settle the
// ticket with Ack, Nack or Dead. Up to n tickets may be open; then f is not called until one is
// settled. A ticket that is not settled within the given time is nacked; zero or less sets no
// limit. See flow.Later, which passes f the whole message.
//
// Order: f is called in order; the tickets may be settled in any order. Acks: a value is acked when
// its ticket is acked. Ends: with its input, when all tickets are settled; values whose ticket is
// still open after flow.DrainTimeout are given back. Errors: when f returns an error or panics its
// ticket is void, and the fault policy decides about the value.
func Later[T any](
	n int, within time.Duration, f func(ctx context.Context, v T, t *flow.Ticket) error, opts ...flow.StageOption,
) flow.Sink[T] {
	if f == nil {
		return flow.Later[T](n, within, nil, opts...)
	}
	return flow.Later(n, within, func(ctx context.Context, m flow.Message[T], t *flow.Ticket) error {
		return f(ctx, m.Value, t)
	}, opts...)
}
