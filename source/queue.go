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
	// ErrUnsettled is wrapped by what Deliver returns when its context was done while the graph worked on the value: it
	// may come to a good end yet.
	ErrUnsettled = errors.New("source: graph has the value and has not settled it")
)

// OutcomeError is what Deliver returns when the graph has settled the value, and not by acking it.
type OutcomeError struct {
	Outcome flow.Outcome
	Err     error // why; nil when the graph ended, or a stage was restarted, before it was done with the value
}

func (e *OutcomeError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("source: value was %s: the graph gave it back unfinished", e.Outcome)
	}
	return fmt.Sprintf("source: value was %s: %v", e.Outcome, e.Err)
}

// Unwrap returns the cause.
func (e *OutcomeError) Unwrap() error { return e.Err }

// Queue is a source of what is pushed into its Inbox, which holds at most size values that the graph has not read.
// It bridges calls into a graph: Deliver returns when the graph has settled its value.
//
// Order: in which Deliver and Offer put values in. Acks: Deliver tells its caller the outcome. The
// queue delivers nothing again by itself: a Nacked or a Dead value does not stop the graph, it is
// its caller's to try again.
// Ends: after Close, when all that was pushed has been read; or by drain. Then values not read fail their Deliver with
// ErrEnded; offered ones stay for the next run, after those that this run gave back unfinished. If the graph
// runs several times at once, the runs share the queue. Errors: none of its own.
func Queue[T any](size int, opts ...flow.StageOption) (flow.Source[T], *Inbox[T]) {
	opts = slices.Concat([]flow.StageOption{flow.Redelivers(), flow.KeepsDeadLetters()}, opts)
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

// Inbox is where values are pushed into a Queue. It is safe for concurrent use.
type Inbox[T any] struct {
	slots chan struct{} // holds a token for each value that waits and was pushed
	news  chan struct{} // holds a token when a reader should look

	mu      sync.Mutex     // guards what follows
	waiting []*delivery[T] // not read yet
	closed  chan struct{}  // closed by Close
	ended   chan struct{}  // closed, and made anew, when the last reader has gone
	readers int
}

// delivery is one value on its way.
type delivery[T any] struct {
	value   T
	outcome chan error // of Deliver, with room for it; nil for Offer
	slot    bool       // it holds a slot
}

// Deliver pushes a value and returns when the graph has settled it: nil if it was acked, else an *OutcomeError, which
// wraps the cause. It waits while the queue is full, and while no graph runs. If ctx is done before the graph has read
// the value, the value is withdrawn and never delivered; if it is done later, the error wraps ErrUnsettled. Both wrap
// the context's cause. Other errors are ErrClosed and ErrEnded: the value was not delivered.
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

// Offer pushes a value and returns when the queue has it, without waiting for the graph. It waits while the queue is
// full. If the value fails for good nobody is told, apart from the log and the graph's hooks. Its errors are ErrClosed,
// ErrEnded and one that wraps the context's cause; with each of them the value is not in the queue.
func (q *Inbox[T]) Offer(ctx context.Context, v T) error {
	return q.push(ctx, &delivery[T]{value: v})
}

// Close ends the source once all that was pushed has been read. What is called after it fails with ErrClosed. Closing
// twice is harmless.
func (q *Inbox[T]) Close() {
	q.mu.Lock()
	if !q.isClosed() {
		close(q.closed)
	}
	q.mu.Unlock()
	wake(q.news)
}

// Len returns how many values wait to be read.
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
	case q.ended != ended: // nobody has promised to read it
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

// withdraw takes back a value that no graph has read. It reports false if one has, or if its outcome is known.
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

// free gives back the slot of a value that does not wait any more. It does not block: the slot's token is there.
func (q *Inbox[T]) free(d *delivery[T]) {
	if d.slot {
		d.slot = false
		<-q.slots
	}
}

// queueReader is one run's end of the queue.
type queueReader[T any] struct {
	q      *Inbox[T]
	opened bool

	// Guarded by q.mu: Read and Commit are called at the same time.
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

// Close answers those who would wait in vain, and puts back what was given back.
func (r *queueReader[T]) Close(context.Context) error {
	q := r.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range r.flight { // never, as long as the graph has every entry committed
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
