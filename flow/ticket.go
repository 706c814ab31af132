package flow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	// ErrSettled is wrapped by the errors of a Ticket's methods if the ticket is already settled.
	// Another call may have settled it, its time may be over, the function that received it may
	// have failed, or the graph may have ended.
	ErrSettled = errors.New("flow: ticket already settled")

	errTicketCalled  = errors.New("by an earlier call")
	errTicketExpired = errors.New("not settled in time")
	errTicketFailed  = errors.New("the function that received it failed")
	errTicketOver    = errors.New("the graph has ended")
)

// Ticket stands for a message that is settled later: by a webhook, a callback, or the approval of a
// person. [Later] issues tickets. One of Ack, Nack and Dead settles the ticket, once, from any
// goroutine and at any time. Until then its entry stays unsettled and keeps its lease. A later call
// changes nothing and returns an error that wraps ErrSettled. A ticket lives in its process: if the
// process dies, the entry is delivered again.
type Ticket struct {
	stage *stageRun
	lease lease
	meta  Meta
	timer *time.Timer
	done  chan struct{}

	over error // why the ticket is settled; guarded by the mu of the stage's tickets
}

// Meta returns the metadata of the message. Use its ID to find the ticket.
func (t *Ticket) Meta() Meta { return t.meta }

// Done returns a channel that is closed when the ticket is settled for any reason. Then the ticket
// can be forgotten.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Ack settles the ticket: the message is done.
func (t *Ticket) Ack() error {
	return t.settle(errTicketCalled, func(n *dirtySessions) { t.lease.release(Acked, nil, n) })
}

// Nack settles the ticket: the source delivers the entry again, at once, or after d with
// RetryAfter(d, err). err is the reason. If the source cannot deliver again, Nack returns an error
// that wraps ErrNotRedeliverable, and the ticket stays open.
func (t *Ticket) Nack(err error) error {
	if v := verdictOf(err); v == nil || v.do != ActNack {
		err = RetryAfter(0, err)
	}
	return t.giveUp(err)
}

// Dead settles the ticket: the entry goes to the dead letters of its source, with err as the
// reason. If the source keeps none, Dead returns an error that wraps ErrNotRedeliverable, and the
// ticket stays open.
func (t *Ticket) Dead(err error) error { return t.giveUp(Reject(err)) }

func (t *Ticket) giveUp(err error) error {
	f := &Fault{Err: err, Meta: t.meta, Tries: 1}
	d, _ := Verdict(err)
	if can, _ := feasible(d, f, t.lease); can.Do != d.Do {
		return fmt.Errorf("flow: ticket of entry %s: %w", t.meta.ID, ErrNotRedeliverable)
	}
	return t.settle(errTicketCalled, func(n *dirtySessions) { t.stage.giveUp(t.lease, f, n) })
}

// expire settles a ticket when its time is over.
func (t *Ticket) expire(within time.Duration) {
	f := &Fault{Err: fmt.Errorf("flow: ticket: %w (%v)", errTicketExpired, within), Meta: t.meta, Tries: 1}
	_ = t.settle(errTicketExpired, func(n *dirtySessions) { t.stage.giveUp(t.lease, f, n) })
}

// settle settles the ticket with release, unless it is already settled. The ticket stays open until
// its lease is released, so the end of the graph waits for the release.
func (t *Ticket) settle(why error, release func(*dirtySessions)) error {
	ts := &t.stage.tickets
	if was := ts.claim(t, why); was != nil {
		return fmt.Errorf("%w: entry %s: %w", ErrSettled, t.meta.ID, was)
	}
	var n dirtySessions
	release(&n)
	n.tell()
	ts.remove(t)
	return nil
}

// tickets are the open tickets of a stage.
type tickets struct {
	mu     sync.Mutex
	open   map[*Ticket]struct{}
	closed chan struct{} // closed and replaced whenever a ticket is settled
	over   bool          // the graph has ended
}

// claim records why a ticket is now settled. If it was already settled, claim returns the earlier
// reason.
func (ts *tickets) claim(t *Ticket, why error) (was error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t.over != nil {
		return t.over
	}
	t.over = why
	if t.timer != nil {
		t.timer.Stop()
	}
	return nil
}

// remove closes a claimed ticket.
func (ts *tickets) remove(t *Ticket) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	close(t.done)
	delete(ts.open, t)
	close(ts.closed)
	ts.closed = make(chan struct{})
}

// end closes all tickets. Their entries are given back with everything that is unsettled at the
// end.
func (ts *tickets) end() {
	ts.mu.Lock()
	ts.over = true
	var all []*Ticket
	for t := range ts.open {
		all = append(all, t)
	}
	ts.mu.Unlock()
	for _, t := range all {
		if ts.claim(t, errTicketOver) == nil {
			ts.remove(t)
		}
	}
}

// wait waits until fewer than n tickets are open. It reports false if the lane is stopped first.
func (ts *tickets) wait(la *lane, n int) bool {
	for {
		ts.mu.Lock()
		if ts.closed == nil {
			ts.open, ts.closed = make(map[*Ticket]struct{}), make(chan struct{})
		}
		open, closed := len(ts.open), ts.closed
		ts.mu.Unlock()
		if open < n {
			return true
		}
		la.dirty.tell()
		select {
		case <-closed:
		case <-la.ctx.Done():
			return false
		}
	}
}

// issue makes a ticket. It returns nil if the graph has ended.
func (ts *tickets) issue(s *stageBase, l lease, meta Meta, within time.Duration) *Ticket {
	if !l.none() && !l.share(1) {
		l = lease{}
	}
	t := &Ticket{stage: s.st, lease: l, meta: meta, done: make(chan struct{})}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.over {
		s.la.nack(l)
		return nil
	}
	ts.open[t] = struct{}{}
	if within > 0 {
		t.timer = time.AfterFunc(within, func() { t.expire(within) })
	}
	return t
}

// Later makes a sink that settles its messages later. f is called with each message and its ticket.
// It stores the ticket, for example in a map by the message's ID, and returns. If f returns an
// error or panics, its ticket is void, and the fault policy decides on the message.
//
// At most n tickets are open at once; f is not called until one of them is settled. A ticket that
// is not settled within the given time is nacked, so its source delivers the entry again; zero or
// less sets no limit. When the graph drains, it waits for open tickets as for all other messages,
// up to DrainTimeout, and then gives their entries back. Options that apply: as for NewSink. With
// Workers, f is called by several goroutines concurrently.
func Later[T any](
	n int, within time.Duration, f func(ctx context.Context, m Message[T], t *Ticket) error, opts ...StageOption,
) Sink[T] {
	own := []StageOption{ChunkSize(1), Traits{Holds: max(n, 0), HoldsFor: max(within, 0), NeverWaits: true}}
	if n < 1 {
		own = append(own, Invalid("n", fmt.Sprintf("%d open tickets", n), "give 1 or more"))
	}
	if f == nil {
		own = append(own, Invalid("f", "the function is nil", "give a function"))
	}
	return NewSink("later", func() Writer[T] { return laterWriter[T]{n, within, f} }, append(own, opts...)...)
}

type laterWriter[T any] struct {
	n      int
	within time.Duration
	f      func(context.Context, Message[T], *Ticket) error
}

// Write calls f with each message.
func (w laterWriter[T]) Write(ctx context.Context, chunk []Message[T]) error {
	s := stageOf(ctx)
	var errs []error
	for i, m := range chunk {
		err := w.one(ctx, s, m)
		if err == nil {
			continue
		}
		if errs == nil {
			errs = make([]error, len(chunk))
		}
		errs[i] = err
	}
	if errs == nil {
		return nil
	}
	return &WriteError{Errs: errs}
}

func (w laterWriter[T]) one(ctx context.Context, s *stageBase, m Message[T]) error {
	ts := &s.st.tickets
	if !ts.wait(s.la, w.n) {
		return context.Cause(s.la.ctx)
	}
	t := ts.issue(s, m.lease, m.Meta(), w.within)
	if t == nil {
		return errTicketOver
	}
	err := guard(ctx, func(ctx context.Context) error { return w.f(ctx, m, t) })
	if err != nil {
		// err decides on the message.
		_ = t.settle(errTicketFailed, func(n *dirtySessions) { t.lease.release(Acked, nil, n) })
	}
	return err
}

// Flush waits until no ticket is open.
func (w laterWriter[T]) Flush(ctx context.Context) error {
	s := stageOf(ctx)
	s.st.tickets.wait(s.la, 1)
	return nil
}

// DrainStarted returns a channel that is closed when the graph of the handler with context ctx
// begins to drain, or stops. A handler in a long wait can then give up, for example with
// RetryAfter. The handler's context itself is done only if the drain takes too long. Outside a
// running graph the channel is nil, which is never ready.
func DrainStarted(ctx context.Context) <-chan struct{} {
	if s := stageOf(ctx); s != nil {
		return s.la.run.reading.Done()
	}
	return nil
}
