package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// PartitionHub sends each message to one of its subscribers, which come and go while it runs. All
// messages of a key go to the same subscriber, as long as the subscribers stay the same. When one
// comes or leaves, only the keys that it gains or had move.
//
//	in  --a--b--a--c--b--
//	out --a-----a-----b--   (b moves here when the other subscriber has left)
//	out -----b-----c|
//
// Producers wait while the mailbox of a key is full, or while the hub has no subscribers. When a
// subscriber leaves, its unfinished messages go to the others.
type PartitionHub[T any] struct {
	hub[T]
	room    int
	hash    func(T) uint64
	orphans []parcel[T] // left by the last subscriber; guarded by mu
}

// NewPartitionHub makes a hub with mailboxes of room messages. key returns the key of a value. A
// panic of it is a fault of the message. Keys are hashed as by Partition, and the subscriber with the
// highest rank for a key gets it (rendezvous hashing: Thaler and Ravishankar, 1996).
func NewPartitionHub[T any, K comparable](room int, key func(T) K) *PartitionHub[T] {
	h := &PartitionHub[T]{room: room}
	if key != nil {
		hash := hasher[K]()
		h.hash = func(v T) uint64 { return hash(key(v)) }
	}
	return h
}

func (h *PartitionHub[T]) mistakes(opts []flow.StageOption) []flow.StageOption {
	return with(opts, atLeastOne("room", h.room, "messages"), function("key", h.hash != nil))
}

// Sink returns the end of a producer's graph. It may be used by several graphs.
//
// Order: kept. Acks: with the subscriber's.
// Holds: room messages. Ends: after Close its graph stops with ErrHubClosed.
func (h *PartitionHub[T]) Sink(opts ...flow.StageOption) flow.Sink[T] {
	return tickets("partition-hub", h.room, h.send, h.mistakes(opts))
}

func (h *PartitionHub[T]) send(ctx context.Context, p parcel[T]) error {
	p.hash = h.hash(p.value)
	p.receipt.open = 1
	return h.until(ctx, func() bool {
		b := h.owner(p.hash)
		if b == nil || b.full() {
			return false
		}
		b.put(p)
		return true
	})
}

// owner returns the mailbox for a key; nil without subscribers. The caller holds mu.
func (h *PartitionHub[T]) owner(hash uint64) (owner *mailbox[T]) {
	var highest uint64
	for _, b := range h.boxes {
		if rank := hashBits(hash ^ hashBits(b.id)); owner == nil || rank > highest {
			owner, highest = b, rank
		}
	}
	return owner
}

// Subscribe attaches a subscriber until ctx is done, and returns its source. It owns its keys from
// now on, whether its graph runs or not: cancel ctx when no graph will read it any more. Then the
// source ends, and its unfinished messages go to the others.
//
// Order: kept within a key and producer, until a subscriber comes or leaves. Acks: settle the producer's entry.
// Holds: room messages. Ends: when ctx is done; after Close, when all messages are settled; by drain.
func (h *PartitionHub[T]) Subscribe(ctx context.Context, opts ...flow.StageOption) flow.Source[T] {
	b := h.subscribe(ctx, h.room, h.move)
	h.mu.Lock()
	defer h.mu.Unlock()
	orphans := h.orphans
	h.orphans = nil
	for _, p := range orphans {
		h.move(p)
	}
	return b.source("partition-hub", h.mistakes(opts), settles)
}

// move gives a message of a subscriber that has left to another. The caller holds mu.
func (h *PartitionHub[T]) move(p parcel[T]) {
	b := h.owner(p.hash)
	switch {
	case b == nil:
		h.orphans = append(h.orphans, p)
	case p.due.IsZero():
		b.put(p)
	default:
		b.later(p)
	}
}
