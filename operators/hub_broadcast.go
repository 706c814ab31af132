package operators

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/flow"
)

// BroadcastHub copies each message to all subscribers, which come and go while it runs. The copies
// share the value, so no subscriber may write through a pointer in it.
//
//	in  --a--b--c--d--
//	out --a--b--c--d--
//	out --------c--d--   (subscribed later)
//
// With the policy Block the slowest subscriber sets the pace. A message waits until there is a
// subscriber. Its entry is acknowledged when all subscribers that received it have acknowledged it.
// When one of them gives it back, its source delivers it again to all.
//
// With any other policy an entry is acknowledged when it is in the hub, and no subscriber slows the
// others. DropOldest and DropNewest drop messages for the slow one, Fail ends its subscription with
// ErrTooSlow. Without a subscriber, messages are dropped. Stats reports their number.
type BroadcastHub[T any] struct {
	hub[T]
	lag  int
	slow Overflow
}

// NewBroadcastHub makes a hub. Each subscriber may be up to lag messages behind. The policy slow
// applies to one that is further behind.
func NewBroadcastHub[T any](lag int, slow Overflow) *BroadcastHub[T] {
	return &BroadcastHub[T]{lag: lag, slow: slow}
}

func (h *BroadcastHub[T]) mistakes(opts []flow.StageOption) []flow.StageOption {
	return with(opts, atLeastOne("lag", h.lag, "messages"), h.slow.known("slow"))
}

// Sink returns the end of a producer's graph. It may be used by several graphs.
//
// Order: kept. Acks: with the policy Block when all subscribers have, else at once.
// Holds: with Block lag messages. Ends: after Close its graph stops with ErrHubClosed.
func (h *BroadcastHub[T]) Sink(opts ...flow.StageOption) flow.Sink[T] {
	opts = h.mistakes(opts)
	if h.slow == Block {
		return tickets("broadcast-hub", h.lag, h.send, opts)
	}
	return flow.NewSink("broadcast-hub", func() flow.Writer[T] { return &broadcaster[T]{hub: h} }, opts...)
}

// send puts a message into the mailboxes of all current subscribers, into each as soon as it has
// room. Until then the sender has a share of the receipt.
func (h *BroadcastHub[T]) send(ctx context.Context, p parcel[T]) error {
	var left []*mailbox[T]
	p.receipt.open = 1
	return h.until(ctx, func() bool {
		if len(left) == 0 {
			left = append(left, h.boxes...)
		}
		left = slices.DeleteFunc(left, func(b *mailbox[T]) bool {
			if b.over == nil && b.full() {
				return false
			}
			if b.over == nil {
				p.receipt.open++
				b.put(p)
			}
			return true
		})
		if len(left) > 0 || p.receipt.open == 1 {
			return false
		}
		p.receipt.settle(ctx, flow.Settlement{})
		return true
	})
}

// broadcaster is a sink that never waits for a subscriber.
type broadcaster[T any] struct {
	hub     *BroadcastHub[T]
	dropped atomic.Uint64
}

// Write puts messages into the mailboxes that have room, and makes room by the hub's policy.
func (w *broadcaster[T]) Write(_ context.Context, chunk []flow.Message[T]) error {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return flow.Permanent(ErrHubClosed)
	}
	before := h.dropped
	for i := range chunk {
		if len(h.boxes) == 0 {
			h.dropped += uint64(len(chunk) - i)
			break
		}
		meta := chunk[i].Meta()
		p := parcel[T]{value: chunk[i].Value, meta: &meta}
		for _, b := range slices.Clone(h.boxes) { // Fail removes from it
			h.squeeze(b, p)
		}
	}
	w.dropped.Add(h.dropped - before)
	return nil
}

// squeeze puts a message into a mailbox, by the policy if it is full. The caller holds mu.
func (h *BroadcastHub[T]) squeeze(b *mailbox[T], p parcel[T]) {
	if !b.full() {
		b.put(p)
		return
	}
	h.dropped++
	switch h.slow {
	case DropOldest:
		b.waiting = append(b.waiting[:0], b.waiting[1:]...)
		b.put(p)
	case Fail:
		h.dropped += uint64(len(b.waiting))
		h.detach(b, ErrTooSlow)
	}
}

// Counts counts the dropped messages in snapshots.
func (w *broadcaster[T]) Counts(add func(name string, n uint64)) { add("dropped", w.dropped.Load()) }

// Subscribe attaches a subscriber until ctx is done, and returns its source. It gets the messages
// that are sent from now on, whether its graph runs or not: cancel ctx when no graph will read it any
// more. Then the source ends, and its unfinished messages count as acknowledged.
//
// Order: kept within each producer. Acks: with the policy Block they settle the producer's entry.
// Holds: lag messages. Ends: when ctx is done; after Close, when all messages are settled; by drain.
func (h *BroadcastHub[T]) Subscribe(ctx context.Context, opts ...flow.StageOption) flow.Source[T] {
	traits := flow.Traits{Redelivers: true, GivesBack: true}
	if h.slow == Block {
		traits = settles
	}
	return h.subscribe(ctx, h.lag, forget[T]).source("broadcast-hub", h.mistakes(opts), traits)
}

// forget settles a message for a subscriber that has left.
func forget[T any](p parcel[T]) {
	if p.receipt != nil {
		p.receipt.settle(context.Background(), flow.Settlement{})
	}
}
