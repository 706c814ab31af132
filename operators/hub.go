package operators

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

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
