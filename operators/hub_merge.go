package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// MergeHub merges the streams of producers that come and go while it runs. A producer is a graph
// that ends in Sink: it is attached while it runs. All runs of graphs that read Source share the
// messages.
//
//	in --a-a-a--------
//	in -------b-b--b--   (attached later)
//	out -a-a-a-b-b--b-
//
// A producer's entry is acknowledged when the consumer has acknowledged it. When the consumer gives
// a message back, the producer's source delivers it again and counts the delivery. If that source
// cannot, the hub delivers it again. A dead message becomes a dead letter of the producer's source.
// A hub is in memory: what it holds when the process dies is still pending at the producers'
// sources.
type MergeHub[T any] struct {
	hub[T]
	perProducer int
	box         *mailbox[T]
}

// NewMergeHub makes a hub that holds up to perProducer messages of each producer, from their
// arrival until they are settled. The producer then waits.
func NewMergeHub[T any](perProducer int) *MergeHub[T] {
	h := &MergeHub[T]{perProducer: perProducer}
	h.box = h.attach(0)
	return h
}

// Sink returns the end of a producer's graph. It may be used by several graphs.
//
// Order: kept. Acks: with the consumer's.
// Holds: perProducer messages. Ends: after Close its graph stops with ErrHubClosed.
func (h *MergeHub[T]) Sink(opts ...flow.StageOption) flow.Sink[T] {
	return tickets("merge-hub", h.perProducer, h.send, with(opts, atLeastOne("perProducer", h.perProducer, "messages")))
}

func (h *MergeHub[T]) send(ctx context.Context, p parcel[T]) error {
	return h.until(ctx, func() bool {
		p.receipt.open = 1
		h.box.put(p)
		return true
	})
}

// Source returns the hub's output.
//
// Order: kept within each producer, not between them. Acks: settle the producer's entry.
// Holds: what the producers may send. Ends: after Close, when all messages are settled; by drain.
func (h *MergeHub[T]) Source(opts ...flow.StageOption) flow.Source[T] {
	return h.box.source("merge-hub", opts, settles)
}

// settles are the traits of a source that settles the producers' entries.
var settles = flow.Traits{Redelivers: true, DeadLetters: true, GivesBack: true}
