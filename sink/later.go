package sink

import (
	"context"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Later is a sink whose values are settled later, such as by a webhook or by the approval of a person: f is called with
// each value and a ticket, and returns. The ticket is settled from any goroutine with Ack, Nack or
// Dead. Up to n tickets are open at once; with as many f is not called until one is settled. A
// ticket that is not settled within the given time is nacked; zero or less sets no limit. See
// flow.Later, which shows f the whole message.
//
// Order: f is called in order; the tickets are settled in any. Acks: a value is acked when its
// ticket is. Ends: with its input, when all tickets are settled; what is open after
// flow.DrainTimeout is given back. Errors: when f returns an error or panics its ticket is void,
// and the value goes by the fault policy.
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
