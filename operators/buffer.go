package operators

import (
	"context"
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// ErrOverflow is the fault of a message for which a Buffer has no room.
var ErrOverflow = errors.New("operators: the buffer is full")

// Buffer lets the stream before it get ahead. Up to n messages wait for the stage behind it. A
// message is passed on when the stage behind the buffer has no chunk waiting. So that stage has one more
// chunk waiting, which is one message unless flow.ChunkSize is set, and the one that it works on.
//
// When n messages wait, over decides. Block makes the stream before the buffer wait. DropOldest and
// DropNewest drop a message: its entry is done and counted as dropped. With Fail the new message
// fails with ErrOverflow, and the fault policy decides on it. A retry in place finds the buffer as
// full as before, so choose a policy such as flow.DeadLetter, NackAfter or Stop.
//
// Each waiting message keeps its entry unsettled. So the source needs credits for n messages, which
// Validate checks, and a stop gives all of them back. A drain passes them on.
//
//	in   --1--2--3--4--5--6--|
//	out  --1-----------------5-6|  DropOldest, n = 2; the stage behind it works on 1 meanwhile
//
// Order: kept. Acks: carried by the output; a dropped message is done at once.
// Holds: up to n messages. Ends: when in ends, with the messages that wait.
func Buffer[T any](in flow.Source[T], n int, over Overflow, opts ...flow.StageOption) flow.Source[T] {
	return flow.RouteVia(in, "buffer", 1, func() flow.RouteHandler[T, T] {
		return &buffer[T]{n: n, over: over}
	}, with(opts, atLeastOne("n", n, "messages in a buffer"), over.known("over"), flow.Async(), flow.ChunkSize(1),
		flow.Traits{Holds: max(n, 0), Passes: true})...)[0]
}

// buffer is the queue of a Buffer.
type buffer[T any] struct {
	n    int
	over Overflow
	queue[T]
}

func (b *buffer[T]) Handle(ctx context.Context, m flow.Message[T], emit flow.RouteEmit[T]) error {
	if b.count >= b.n {
		switch b.over {
		case DropOldest:
			b.pop().Fail(flow.Skip)
		case DropNewest:
			return flow.Skip
		case Fail:
			return fmt.Errorf("%w: %d messages wait", ErrOverflow, b.n)
		default:
			b.emit(emit) // waits until there is room
		}
	}
	b.push(b.n, flow.Hold(ctx, m))
	return nil
}

func (b *buffer[T]) emit(emit flow.RouteEmit[T]) {
	first := b.pop()
	emit(0, first.Message)
	first.Done()
}

func (b *buffer[T]) Waiting(int) bool { return b.count > 0 }

func (b *buffer[T]) Pull(_ context.Context, _ int, emit flow.RouteEmit[T]) error {
	b.emit(emit)
	return nil
}

func (b *buffer[T]) End(_ context.Context, emit flow.RouteEmit[T]) error {
	for b.count > 0 {
		b.emit(emit)
	}
	return nil
}

// queue is a ring of up to n held messages.
type queue[T any] struct {
	ring  []flow.Held[T]
	head  int
	count int
}

func (q *queue[T]) push(n int, h flow.Held[T]) {
	if q.ring == nil {
		q.ring = make([]flow.Held[T], n)
	}
	q.ring[(q.head+q.count)%len(q.ring)] = h
	q.count++
}

func (q *queue[T]) pop() flow.Held[T] {
	h := q.ring[q.head]
	q.ring[q.head] = flow.Held[T]{}
	q.head, q.count = (q.head+1)%len(q.ring), q.count-1
	return h
}

// Overflow decides what happens to a message for which a bounded queue has no room.
type Overflow uint8

const (
	// Block makes the sender wait for room: backpressure.
	Block Overflow = iota
	// DropOldest makes room by dropping the message that has waited longest.
	DropOldest
	// DropNewest drops the message that finds no room.
	DropNewest
	// Fail is an error: of the message, or of the subscriber that is too slow.
	Fail
)

// String returns the policy's name.
func (o Overflow) String() string {
	if o > Fail {
		return "unknown"
	}
	return [...]string{"block", "drop oldest", "drop newest", "fail"}[o]
}

// known reports an unknown Overflow.
func (o Overflow) known(field string) flow.StageOption {
	if o <= Fail {
		return nil
	}
	return flow.Invalid(field, fmt.Sprintf("the unknown policy %d", o), "give Block, DropOldest, DropNewest or Fail")
}
