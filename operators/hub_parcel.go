package operators

import (
	"context"
	"errors"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// parcel is a message in a hub.
type parcel[T any] struct {
	value   T
	meta    *flow.Meta
	hash    uint64      // of the key, in a PartitionHub
	receipt *receipt[T] // nil: the message was acked when it entered the hub
	number  uint64      // order of arrival in its mailbox
	due     time.Time   // of a message that is delivered again later
}

// again returns the message for another delivery.
func (p parcel[T]) again(after time.Duration) parcel[T] {
	meta := *p.meta
	meta.Attempt++
	p.meta, p.due = &meta, time.Now().Add(after)
	return p
}

// void reports that the producer has given the message back to its source in the meantime.
func (p parcel[T]) void() bool {
	if p.receipt == nil {
		return false
	}
	select {
	case <-p.receipt.ticket.Done():
		return true
	default:
		return false
	}
}

// receipt is the ticket of a message with what its subscribers have made of it. Guarded by the
// hub's mu.
type receipt[T any] struct {
	ticket *flow.Ticket
	open   int // subscribers that have not settled the message
	worst  flow.Settlement
	failed []returned[T]
}

// returned is a message that a consumer could not handle.
type returned[T any] struct {
	box    *mailbox[T]
	parcel parcel[T]
}

// tickets makes a sink that keeps the tickets of up to n messages until they are settled.
func tickets[T any](
	name string, n int, send func(context.Context, parcel[T]) error, opts []flow.StageOption,
) flow.Sink[T] {
	return flow.Later(max(n, 1), 0, func(ctx context.Context, m flow.Message[T], t *flow.Ticket) error {
		meta := t.Meta()
		return send(ctx, parcel[T]{value: m.Value, meta: &meta, receipt: &receipt[T]{ticket: t}})
	}, with(opts, flow.DefaultName(name))...)
}

// settle records how one subscriber has settled the message. After the last, it settles the ticket.
// The caller holds the hub's mu.
func (r *receipt[T]) settle(ctx context.Context, end flow.Settlement) {
	if end.Outcome >= r.worst.Outcome {
		r.worst = end
	}
	r.open--
	if r.open == 0 {
		r.finish(ctx)
	}
}

// retryDead is when a message is delivered again that no source can keep as a dead letter.
const retryDead = time.Second

// finish settles the ticket. If the producer's source cannot deliver the message again, the hub
// does. Ticket's methods fail if the producer's graph has ended: then its source delivers the entry
// again.
func (r *receipt[T]) finish(ctx context.Context) {
	var after time.Duration
	if r.worst.Fault != nil {
		after = r.worst.Fault.After
	}
	cause := r.worst.Err()
	if _, verdict := flow.Verdict(cause); verdict { // the ticket makes it a verdict again
		cause = errors.Unwrap(cause)
	}
	switch r.worst.Outcome {
	case flow.Acked, flow.Dropped:
		_ = r.ticket.Ack()
		return
	case flow.Dead:
		if err := r.ticket.Dead(cause); !errors.Is(err, flow.ErrNotRedeliverable) {
			return
		}
		flow.Logger(ctx).Error("the producer's source keeps no dead letters, so the message is delivered again",
			"id", r.worst.ID, "err", cause)
		after = retryDead
	}
	if err := r.ticket.Nack(flow.RetryAfter(after, cause)); errors.Is(err, flow.ErrNotRedeliverable) {
		r.again(after)
	}
}

// again delivers the message again to the subscribers that could not handle it.
func (r *receipt[T]) again(after time.Duration) {
	failed := r.failed
	r.open, r.failed, r.worst = len(failed), nil, flow.Settlement{}
	for _, one := range failed {
		one.box.later(one.parcel.again(after))
	}
}
