package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/streamerson/streamerson-go/flow"
)

var (
	// ErrClosed is returned by Deliver and Offer after Close.
	ErrClosed = errors.New("source: queue is closed")
	// ErrEnded is returned by Deliver and Offer when the graph ended before it had read the value.
	ErrEnded = errors.New("source: graph ended before it read the value")
	// ErrUnsettled is wrapped by the error of Deliver when its context ended while the graph was
	// working on the value. The value may still succeed.
	ErrUnsettled = errors.New("source: graph has the value and has not settled it")
)

// OutcomeError is returned by Deliver when the graph has settled the value with an outcome other
// than Acked.
type OutcomeError struct {
	Outcome flow.Outcome
	Err     error // the cause; nil if the graph ended, or a stage was restarted, before the value was done
}

func (e *OutcomeError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("source: value was %s: the graph gave it back unfinished", e.Outcome)
	}
	return fmt.Sprintf("source: value was %s: %v", e.Outcome, e.Err)
}

// Unwrap returns the cause.
func (e *OutcomeError) Unwrap() error { return e.Err }

// Queue is a source of the values pushed into its Inbox, which holds at most size unread values. It
// bridges calls into a graph: Deliver returns when the graph has settled its value.
//
// Order: the order in which Deliver and Offer push values. Acks: Deliver returns the outcome to its
// caller. The queue does not redeliver: a Nacked or Dead value does not stop the graph, and its
// caller may try again. Ends: after Close, when all values have been read, or by drain. After a
// drain, the Deliver calls of unread values return ErrEnded. Offered values stay for the next run,
// after those that this run gave back unfinished. Concurrent runs of the graph share the queue.
// Errors: none of its own.
func Queue[T any](size int, opts ...flow.StageOption) (flow.Source[T], *Inbox[T]) {
	opts = slices.Concat([]flow.StageOption{flow.Traits{Redelivers: true, DeadLetters: true}}, opts)
	if size < 1 {
		opts = append(opts, flow.Invalid("size", fmt.Sprintf("room for %d values", size), "give 1 or more"))
	}
	q := &Inbox[T]{
		slots:  make(chan struct{}, max(size, 1)),
		news:   make(chan struct{}, 1),
		closed: make(chan struct{}),
		ended:  make(chan struct{}),
	}
	src := flow.NewSource("queue", func() flow.Reader[T] {
		return &queueReader[T]{q: q, flight: make(map[uint64]*delivery[T])}
	}, opts...)
	return src, q
}

// Inbox is the input of a Queue. It is safe for concurrent use.
type Inbox[T any] struct {
	slots chan struct{} // holds a token for each waiting value that was pushed
	news  chan struct{} // holds a token when a reader should check

	mu      sync.Mutex     // guards the fields below
	waiting []*delivery[T] // not read yet
	closed  chan struct{}  // closed by Close
	ended   chan struct{}  // closed and replaced when the last reader has left
	readers int
}

// delivery is one pushed value.
type delivery[T any] struct {
	value   T
	outcome chan error // of Deliver, with capacity 1; nil for Offer
	slot    bool       // it holds a slot
}

// Deliver pushes a value and returns when the graph has settled it: nil if it was acked, else an
// *OutcomeError, which wraps the cause. It blocks while the queue is full and while no graph runs.
// If ctx ends before the graph has read the value, the value is withdrawn and never delivered. If
// ctx ends later, the error wraps ErrUnsettled. Both wrap the context's cause. Other errors are
// ErrClosed and ErrEnded: the value was not delivered.
func (q *Inbox[T]) Deliver(ctx context.Context, v T) error {
	d := &delivery[T]{value: v, outcome: make(chan error, 1)}
	if err := q.push(ctx, d); err != nil {
		return err
	}
	select {
	case err := <-d.outcome:
		return err
	case <-ctx.Done():
	}
	if q.withdraw(d) {
		return notPushed(ctx)
	}
	select {
	case err := <-d.outcome:
		return err
	default:
		return fmt.Errorf("%w: %w", ErrUnsettled, context.Cause(ctx))
	}
}

// Offer pushes a value and returns when it is in the queue, without waiting for the graph. It
// blocks while the queue is full. A value that fails for good is reported only in the log and to
// the graph's hooks. Its errors are ErrClosed, ErrEnded and one that wraps the context's cause;
// after each of them the value is not in the queue.
func (q *Inbox[T]) Offer(ctx context.Context, v T) error {
	return q.push(ctx, &delivery[T]{value: v})
}

// Close ends the source once all values have been read. Later calls of Deliver and Offer return
// ErrClosed. Close may be called more than once.
func (q *Inbox[T]) Close() {
	q.mu.Lock()
	if !q.isClosed() {
		close(q.closed)
	}
	q.mu.Unlock()
	wake(q.news)
}

// Len returns the number of unread values.
func (q *Inbox[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

func (q *Inbox[T]) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

func notPushed(ctx context.Context) error {
	return fmt.Errorf("source: value was not delivered: %w", context.Cause(ctx))
}

func (q *Inbox[T]) push(ctx context.Context, d *delivery[T]) error {
	q.mu.Lock()
	ended := q.ended
	q.mu.Unlock()
	if ctx.Err() != nil {
		return notPushed(ctx)
	}
	if q.isClosed() {
		return ErrClosed
	}
	select {
	case q.slots <- struct{}{}:
	default:
		select {
		case q.slots <- struct{}{}:
		case <-q.closed:
			return ErrClosed
		case <-ended:
			return ErrEnded
		case <-ctx.Done():
			return notPushed(ctx)
		}
	}
	d.slot = true
	q.mu.Lock()
	var err error
	switch {
	case q.isClosed(): // a reader may have seen the last value already
		err = ErrClosed
	case q.ended != ended: // the readers that would have read it are gone
		err = ErrEnded
	default:
		q.waiting = append(q.waiting, d)
	}
	q.mu.Unlock()
	if err != nil {
		<-q.slots
		return err
	}
	wake(q.news)
	return nil
}

// withdraw removes a value that no graph has read. It returns false if the value was read or its
// outcome is known.
func (q *Inbox[T]) withdraw(d *delivery[T]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, d)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.free(d)
	return true
}

// free releases the slot of a value that no longer waits. It does not block, because the slot's
// token is there.
func (q *Inbox[T]) free(d *delivery[T]) {
	if d.slot {
		d.slot = false
		<-q.slots
	}
}

// queueReader reads the queue for one run.
type queueReader[T any] struct {
	q      *Inbox[T]
	opened bool

	// Guarded by q.mu, because Read and Commit are called concurrently.
	flight map[uint64]*delivery[T]
	back   []*delivery[T] // offered values that came back unfinished
}

func (r *queueReader[T]) Open(context.Context) error {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	r.opened = true
	r.q.readers++
	return nil
}

func (r *queueReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	q := r.q
	for {
		q.mu.Lock()
		n := 0
		for ; n < len(q.waiting) && in.Room() > 0; n++ {
			d := q.waiting[n]
			q.free(d)
			r.flight[in.Seq()] = d
			in.AddValue(d.value)
		}
		clear(q.waiting[:n])
		q.waiting = q.waiting[n:]
		left, closed := len(q.waiting), q.isClosed()
		q.mu.Unlock()
		if left > 0 || closed {
			wake(q.news) // for another reader, or this one's next call
		}
		switch {
		case closed && left == 0:
			return io.EOF
		case n > 0:
			return nil
		}
		select {
		case <-q.news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *queueReader[T]) Commit(_ context.Context, settled []flow.Settlement) error {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	for i := range settled {
		s := &settled[i]
		d := r.flight[s.Seq]
		delete(r.flight, s.Seq)
		switch {
		case d == nil:
		case d.outcome == nil:
			if s.Outcome == flow.Nacked && s.Fault == nil {
				r.back = append(r.back, d)
			}
		case s.Outcome == flow.Acked:
			d.outcome <- nil
		default:
			d.outcome <- &OutcomeError{Outcome: s.Outcome, Err: s.Err()}
		}
	}
	return nil
}

// Close answers Deliver calls that would wait in vain, and requeues offered values that were given
// back.
func (r *queueReader[T]) Close(context.Context) error {
	q := r.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range r.flight { // empty if the graph has committed every entry
		if d.outcome != nil {
			d.outcome <- ErrUnsettled
		}
	}
	clear(r.flight)
	q.waiting = slices.Concat(r.back, q.waiting)
	r.back = nil
	if !r.opened {
		return nil
	}
	if q.readers--; q.readers > 0 {
		wake(q.news)
		return nil
	}
	close(q.ended)
	q.ended = make(chan struct{})
	q.waiting = slices.DeleteFunc(q.waiting, func(d *delivery[T]) bool {
		if d.outcome == nil {
			return false
		}
		q.free(d)
		d.outcome <- ErrEnded
		return true
	})
	wake(q.news)
	return nil
}
