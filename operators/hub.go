package operators

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Idea: a hub is a set of mailboxes, which sinks of some graphs fill and sources of others read. A
// sink holds a ticket for each message in a mailbox or with a consumer. The consumer's committer
// settles the ticket, so that the producer's entry ends as the consumer's graph has decided.

var (
	// ErrHubClosed stops a graph that sends to a hub after its Close.
	ErrHubClosed = errors.New("operators: hub is closed")
	// ErrTooSlow stops the graph of a subscriber that was too slow, with the policy Fail.
	ErrTooSlow = errors.New("operators: subscriber was too slow for its hub")
)

// HubStats is the state of a hub.
type HubStats struct {
	Subscribers int    // attached now
	Queued      int    // messages that no subscriber has read yet, summed over all mailboxes
	Dropped     uint64 // messages dropped because a mailbox was full or no subscriber was attached
}

// hub has what all kinds of hubs share.
type hub[T any] struct {
	mu      sync.Mutex // guards all fields, and those of mailboxes and receipts
	boxes   []*mailbox[T]
	changed chan struct{} // closed when a sender that waits should try again; nil if none waits
	closed  bool
	dropped uint64
	joined  uint64 // number of mailboxes ever attached
}

// Close ends the hub. Its sources end once their messages are read and settled. A graph that still
// sends to it stops with ErrHubClosed. Close may be called more than once.
func (h *hub[T]) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, b := range h.boxes {
		b.wake()
	}
	h.change()
}

// Stats returns the hub's state.
func (h *hub[T]) Stats() HubStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := HubStats{Subscribers: len(h.boxes), Dropped: h.dropped}
	for _, b := range h.boxes {
		s.Queued += len(b.waiting) + len(b.delayed)
	}
	return s
}

// attach adds a mailbox.
func (h *hub[T]) attach(room int) *mailbox[T] {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.joined++
	b := &mailbox[T]{hub: h, id: h.joined, room: room, news: make(chan struct{}, 1)}
	h.boxes = append(h.boxes, b)
	h.change()
	return b
}

// subscribe attaches a mailbox until ctx is done. left receives what it has not delivered then.
func (h *hub[T]) subscribe(ctx context.Context, room int, left func(parcel[T])) *mailbox[T] {
	b := h.attach(max(room, 1))
	b.left = left
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.detach(b, io.EOF)
	})
	return b
}

// detach removes a mailbox. The caller holds mu.
func (h *hub[T]) detach(b *mailbox[T], why error) {
	if b.over != nil {
		return
	}
	b.over = why
	h.boxes = slices.DeleteFunc(h.boxes, func(one *mailbox[T]) bool { return one == b })
	for _, p := range slices.Concat(b.delayed, b.waiting) {
		b.left(p)
	}
	b.waiting, b.delayed = nil, nil
	b.wake()
	h.change()
}

// change makes senders that wait try again. The caller holds mu.
func (h *hub[T]) change() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// until calls try, with mu held, whenever the hub has changed, until it returns true.
func (h *hub[T]) until(ctx context.Context, try func() bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.closed && !try() {
		if h.changed == nil {
			h.changed = make(chan struct{})
		}
		changed := h.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		h.mu.Lock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if h.closed {
		return flow.Permanent(ErrHubClosed)
	}
	return nil
}

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
