package flow

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Other goroutines settle tickets in every possible way, and no more than n tickets are open.
func TestFault_D17_TicketsFromAnyGoroutine(t *testing.T) {
	const n, open = 600, 20
	errNo := errors.New("no")
	synctest.Test(t, func(t *testing.T) {
		src := newScript(n)
		given := make(chan *Ticket, n)
		later := Later(open, time.Hour, func(_ context.Context, _ Message[int], t *Ticket) error {
			given <- t
			return nil
		})
		r, err := New("g", To(src.source(), later)).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(given) != open {
			t.Errorf("%d tickets are open, want %d", len(given), open)
		}
		var settlers sync.WaitGroup
		for range 4 {
			settlers.Go(func() {
				for {
					select {
					case ticket := <-given:
						settle(t, ticket, errNo)
					case <-r.Done():
						return
					}
				}
			})
		}
		settlers.Wait()
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		src.wantOutcomes(t, func(v int) Outcome { return [...]Outcome{Acked, Nacked, Dead}[v%3] })
	})
}

// settle settles a ticket by its id, and checks that a second time is an error.
func settle(t *testing.T, ticket *Ticket, why error) {
	v := 0
	for _, c := range ticket.Meta().ID {
		v = v*10 + int(c-'0')
	}
	err := [...]func() error{ticket.Ack,
		func() error { return ticket.Nack(why) }, func() error { return ticket.Dead(why) }}[v%3]()
	if err != nil {
		t.Error(err)
	}
	<-ticket.Done()
	for _, again := range []error{ticket.Ack(), ticket.Nack(why), ticket.Dead(why)} {
		if !errors.Is(again, ErrSettled) {
			t.Errorf("settled again: %v, want ErrSettled", again)
		}
	}
}

// An unsettled ticket goes back when its time is over, when the drain takes too long, or when the
// function that received it fails. It can no longer be settled then.
func TestFault_D17_TicketsThatNobodySettles(t *testing.T) {
	for name, c := range map[string]struct {
		within time.Duration
		fails  error
		end    func(*testing.T, *Running)
		want   Outcome
	}{
		"expired": {within: time.Minute, want: Nacked, end: func(*testing.T, *Running) { time.Sleep(2 * time.Minute) }},
		"drained": {want: Nacked, end: func(t *testing.T, r *Running) {
			if _, err := r.Drain(t.Context()); !errors.Is(err, ErrDrainTimeout) {
				t.Errorf("drain: %v", err)
			}
		}},
		"stopped": {want: Nacked, end: func(_ *testing.T, r *Running) { _ = r.Stop() }},
		"failed":  {fails: Reject(errors.New("no")), want: Dead, end: func(*testing.T, *Running) { time.Sleep(time.Second) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := newScript(1)
				src.forever = true
				var ticket *Ticket
				later := Later(5, c.within, func(_ context.Context, _ Message[int], t *Ticket) error {
					ticket = t
					return c.fails
				})
				r, err := New("g", To(src.source(), later)).Start(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				c.end(t, r)
				if err := ticket.Ack(); !errors.Is(err, ErrSettled) {
					t.Errorf("ack: %v, want ErrSettled", err)
				}
				src.wantOutcomes(t, func(int) Outcome { return c.want })
				_ = r.Stop()
			})
		})
	}
}

// A drain waits for open tickets, and handlers learn that it has begun.
func TestFault_D17_DrainWaitsForTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(1)
		src.forever = true
		var waiters sync.WaitGroup
		later := Later(5, 0, func(ctx context.Context, _ Message[int], ticket *Ticket) error {
			draining := DrainStarted(ctx)
			waiters.Go(func() {
				<-draining
				time.Sleep(10 * time.Second)
				if err := ticket.Ack(); err != nil {
					t.Error(err)
				}
			})
			return nil
		})
		r, err := New("g", To(src.source(), later)).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		waiters.Wait()
		src.wantAllAcked(t)
	})
}

// If the source does not support an outcome, the call returns an error and the ticket stays open.
func TestFault_D17_TicketsOfSourcesThatCannotRedeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticket *Ticket
		src := NewSource("count", func() Reader[int] { return &counter{max: 1} })
		later := Later(5, 0, func(_ context.Context, _ Message[int], t *Ticket) error { ticket = t; return nil })
		r, err := New("g", To(src, later)).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, err := range []error{ticket.Nack(nil), ticket.Dead(nil)} {
			if !errors.Is(err, ErrNotRedeliverable) {
				t.Errorf("%v, want ErrNotRedeliverable", err)
			}
		}
		if err := ticket.Ack(); err != nil {
			t.Error(err)
		}
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// More tickets than entries may be in flight are no deadlock: a ticket waits for no other message.
func TestTicketsBeyondCredits(t *testing.T) {
	later := Later(100, 0, func(_ context.Context, _ Message[int], t *Ticket) error { return t.Ack() })
	src := newScript(7, MaxInFlight(3))
	if err := New("g", To(src.source(), later)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(int) Outcome { return Acked })
}
