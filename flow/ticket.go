package flow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	// ErrSettled is wrapped by what the methods of a Ticket return when the ticket is settled already: by another call,
	// because its time was over, because the function that was given it failed, or because the graph has ended.
	ErrSettled = errors.New("flow: ticket already settled")

	errTicketCalled  = errors.New("by an earlier call")
	errTicketExpired = errors.New("not settled in time")
	errTicketFailed  = errors.New("the function that was given it failed")
	errTicketOver    = errors.New("the graph has ended")
)

// Ticket stands for a message that is settled later: by a webhook, a callback, the approval of a person. [Later] hands
// them out. One of Ack, Nack and Dead settles it, once, from any goroutine and at any time. Until
// then the entry behind it stays unsettled and keeps its lease. A call that comes too late changes
// nothing and returns an error that is ErrSettled. A ticket lives in its process: when that dies
// its entry is delivered again.
type Ticket struct {
	stage *stageRun
	run   *Running
	lease lease
	meta  Meta
	timer *time.Timer
	done  chan struct{}

	over error // why it is settled; guarded by the mu of the stage's tickets
}

// Meta returns the metadata of the message: its ID is what to find the ticket by.
func (t *Ticket) Meta() Meta { return t.meta }

// Done returns a channel that is closed when the ticket is settled, whatever settled it: the time to forget it.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Ack settles the ticket: the message is done.
func (t *Ticket) Ack() error {
	return t.settle(errTicketCalled, func(n *news) { t.lease.release(Acked, nil, n) })
}

// Nack settles the ticket: the source delivers the entry again, at once, or with RetryAfter(d, err)
// after d. err says why. If the source cannot deliver again, Nack returns an error that is
// ErrNotRedeliverable, and the ticket stays open.
func (t *Ticket) Nack(err error) error {
	if v := verdictOf(err); v == nil || v.do != ActNack {
		err = RetryAfter(0, err)
	}
	return t.giveUp(err)
}

// Dead settles the ticket: the entry goes to the dead letters of its source, with err as the
// reason. If the source keeps none, Dead returns an error that is ErrNotRedeliverable, and the
// ticket stays open.
func (t *Ticket) Dead(err error) error { return t.giveUp(Reject(err)) }

func (t *Ticket) giveUp(err error) error {
	f := &Fault{Err: err, Meta: t.meta, Tries: 1}
	d, _ := Verdict(err)
	if can, _ := possible(d, f, t.lease); can.Do != d.Do {
		return fmt.Errorf("flow: ticket of entry %s: %w", t.meta.ID, ErrNotRedeliverable)
	}
	return t.settle(errTicketCalled, func(n *news) { t.run.giveUp(t.stage, t.lease, f, n) })
}

// expire settles a ticket whose time is over.
func (t *Ticket) expire(within time.Duration) {
	f := &Fault{Err: fmt.Errorf("flow: ticket: %w (%v)", errTicketExpired, within), Meta: t.meta, Tries: 1}
	_ = t.settle(errTicketExpired, func(n *news) { t.run.giveUp(t.stage, t.lease, f, n) })
}

// settle settles the ticket by release, unless it is settled. The ticket counts as open until its lease is released, so
// the end of the graph waits for that.
func (t *Ticket) settle(why error, release func(*news)) error {
	ts := &t.stage.tickets
	if was := ts.claim(t, why); was != nil {
		return fmt.Errorf("%w: entry %s: %w", ErrSettled, t.meta.ID, was)
	}
	var n news
	release(&n)
	n.tell()
	ts.remove(t)
	return nil
}

// tickets are the open tickets of a stage.
type tickets struct {
	mu     sync.Mutex
	open   map[*Ticket]struct{}
	closed chan struct{} // closed, and made again, when one of them is
	over   bool          // the graph has ended
}

// claim says why a ticket is settled from now on. It returns why it was settled already if it was.
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

// end closes all tickets. What they stand for is given back with all that is unsettled at the end.
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

// wait waits until fewer than n tickets are open, and reports false if the lane is stopped first.
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
		la.news.tell()
		select {
		case <-closed:
		case <-la.ctx.Done():
			return false
		}
	}
}

// issue makes a ticket; nil if the graph has ended.
func (ts *tickets) issue(s *stageBase, l lease, meta Meta, within time.Duration) *Ticket {
	if !l.none() && !l.share(1) {
		l = lease{}
	}
	t := &Ticket{stage: s.st, run: s.la.run, lease: l, meta: meta, done: make(chan struct{})}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.over {
		l.release(Nacked, nil, &s.la.news)
		return nil
	}
	ts.open[t] = struct{}{}
	if within > 0 {
		t.timer = time.AfterFunc(within, func() { t.expire(within) })
	}
	return t
}

// Later makes a sink that settles its messages later. f is called with each message and a ticket for it: it passes the
// ticket on, such as into a map by the message's id, and returns. When f returns an error or panics
// its ticket is void, and the message goes by the fault policy.
//
// Up to n tickets are open at once: with as many f is not called until one is settled. A ticket
// that is not settled within the given time is nacked, so its source delivers the entry again; zero
// or less sets no limit. When the graph drains, open tickets are waited for as everything else, up
// to DrainTimeout, and are then given back. Options that apply: as for NewSink; with Workers f is
// called by several goroutines at once.
func Later[T any](
	n int, within time.Duration, f func(ctx context.Context, m Message[T], t *Ticket) error, opts ...StageOption,
) Sink[T] {
	own := []StageOption{ChunkSize(1), Holds(max(n, 0), max(within, 0))}
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

// Write gives f each message.
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
		_ = t.settle(errTicketFailed, func(n *news) { t.lease.release(Acked, nil, n) }) // its message goes by err
	}
	return err
}

// Flush waits for the tickets that are open.
func (w laterWriter[T]) Flush(ctx context.Context) error {
	s := stageOf(ctx)
	s.st.tickets.wait(s.la, 1)
	return nil
}

// DrainStarted returns a channel that is closed when the graph of the handler that was given ctx
// begins to drain, or stops: a handler that waits for something long can give up then, such as by
// RetryAfter. The handler's context itself is done only when the drain takes too long. Outside a
// running graph the channel is nil, which is never ready.
func DrainStarted(ctx context.Context) <-chan struct{} {
	if s := stageOf(ctx); s != nil {
		return s.la.run.reading.Done()
	}
	return nil
}
