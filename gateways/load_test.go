package gateways

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// queue simulates a stream with services that take from it and clients that send to it, in steps of
// a millisecond. Its results are deterministic.
type queue struct {
	t       *testing.T
	clients []*load
	second  float64 // how many requests services can take in a second
	offered float64 // calls of all clients in a second

	waiting      []waiter
	taken        int64
	ready, due   float64 // fractions below one
	next         int
	let, refused int
	longest      time.Duration // the longest wait of an admitted call
}

// waiter is a request in the queue.
type waiter struct {
	from *load
	at   time.Time
}

func newQueue(t *testing.T, clients int, second float64) *queue {
	q := &queue{t: t, second: second}
	for range clients {
		q.clients = append(q.clients, &load{most: 250 * time.Millisecond})
	}
	return q
}

// run offers calls for a while, and returns their outcome.
func (q *queue) run(d time.Duration, offered float64) (got queue) {
	q.let, q.refused, q.longest, q.offered = 0, 0, 0, offered
	before := q.taken
	for range d / time.Millisecond {
		time.Sleep(time.Millisecond)
		q.tick()
	}
	got = *q
	got.taken -= before
	return got
}

func (q *queue) tick() {
	now := time.Now()
	q.ready += q.second / 1000
	for ; q.ready >= 1; q.ready-- {
		if len(q.waiting) > 0 {
			w := q.waiting[0]
			q.waiting = q.waiting[1:]
			q.taken++
			w.from.calls--
			w.from.replied(now, now.Sub(w.at), now.Sub(w.at))
		}
	}
	q.due += q.offered / 1000
	for ; q.due >= 1; q.due-- {
		q.next++
		c := q.clients[q.next%len(q.clients)]
		var over *OverloadError
		switch err := c.admit(now, time.Time{}); {
		case err == nil:
			q.let++
			q.longest = max(q.longest, time.Duration(float64(len(q.waiting))/max(q.second, 1)*float64(time.Second)))
			q.wait(c, 1)
		case errors.As(err, &over) && errors.Is(err, ErrOverloaded) && over.RetryAfter >= leastWait &&
			over.RetryAfter <= mostWait && over.Wait > 0:
			q.refused++
		default:
			q.t.Errorf("%v", err)
		}
	}
}

// wait adds requests of a client.
func (q *queue) wait(c *load, n int) {
	c.calls += n
	for range n {
		q.waiting = append(q.waiting, waiter{c, time.Now()})
	}
}

// giveUp removes all but the first requests, as after timeouts.
func (q *queue) giveUp(keep int) {
	for len(q.waiting) > keep {
		q.waiting[len(q.waiting)-1].from.calls--
		q.waiting = q.waiting[:len(q.waiting)-1]
	}
}

// For any number of clients and any load, the services stay busy. No admitted call waits much
// longer than the limit, and in the long run calls wait much less.
func TestLoadOverload(t *testing.T) {
	for _, test := range []struct {
		clients           int
		second, offered   float64
		longest, inTheEnd time.Duration
	}{
		{1, 2000, 4000, 310 * time.Millisecond, 55 * time.Millisecond},
		{1, 20_000, 40_000, 310 * time.Millisecond, 55 * time.Millisecond},
		{1, 2000, 20_000, 2800 * time.Millisecond, 55 * time.Millisecond}, // detected after three looks
		{8, 2000, 4000, 300 * time.Millisecond, 100 * time.Millisecond},
		{8, 2000, 20_000, 2400 * time.Millisecond, 100 * time.Millisecond},
		{50, 2000, 4000, 350 * time.Millisecond, 160 * time.Millisecond},
		{1, 2, 4, time.Second, time.Second},
	} {
		t.Run(fmt.Sprint(test.clients, " ", test.second, " ", test.offered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, test.clients, test.second)
				at := q.run(5*time.Second, test.offered)
				if at.longest > test.longest {
					t.Errorf("a call waits %v", at.longest)
				}
				at = q.run(10*time.Second, test.offered)
				if at.longest > test.inTheEnd {
					t.Errorf("in the end a call waits %v", at.longest)
				}
				if could := 10 * test.second; float64(at.taken) < 0.95*could {
					t.Errorf("%d requests were taken of the %.0f that could be", at.taken, could)
				}
				for len(q.waiting) > 0 { // and it ends
					q.run(time.Second, 0)
				}
				if at := q.run(5*time.Second, test.second/2); at.refused > 0 {
					t.Errorf("%d of %d were refused afterwards", at.refused, at.refused+at.let)
				}
			})
		})
	}
}

// Bursts that the services catch up with are not refused.
func TestLoadBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 4, 2000)
		for range 20 {
			if at := q.run(200*time.Millisecond, 4000); at.refused > 0 {
				t.Errorf("%d were refused", at.refused)
			}
			q.run(300*time.Millisecond, 500)
		}
	})
}

// The rate of slow services is estimated as well as that of fast ones: below one request a second,
// a call waits for one other at most.
func TestLoadSlowServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 1, 0.25)
		q.run(time.Minute, 0.5)
		before := len(q.waiting)
		at := q.run(5*time.Minute, 0.5)
		if len(q.waiting) > before+5 || at.refused < 60 || at.taken < 70 {
			t.Errorf("%d wait after %d; %d were refused, %d taken", len(q.waiting), before, at.refused, at.taken)
		}
	})
}

// The estimate follows within seconds when services are added or removed.
func TestLoadFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 2, 1000)
		q.run(5*time.Second, 2000)
		q.second = 4000
		q.run(3*time.Second, 2000)
		if at := q.run(5*time.Second, 2000); at.refused > 0 {
			t.Errorf("%d were refused of services that have become four times as many", at.refused)
		}
		q.second = 100
		q.run(20*time.Second, 200)
		if at := q.run(5*time.Second, 200); at.longest > 300*time.Millisecond {
			t.Errorf("a call waits %v for services that are a fortieth of what they were", at.longest)
		}
	})
}

// Measurements from before or during an outage refuse no calls after it.
func TestLoadForgetsOutages(t *testing.T) {
	for _, outage := range []time.Duration{300 * time.Millisecond, 900 * time.Millisecond, 3 * time.Second} {
		t.Run(outage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, 1, 5000)
				q.wait(q.clients[0], 20)
				refused := q.run(5*time.Second, 5000).refused // the services are busy, and keep up
				q.second = 0
				refused += q.run(outage, 1300).refused
				q.giveUp(1200) // less than 250 ms
				q.second = 5000
				refused += q.run(3*time.Second, 1000).refused
				if outage < time.Second && refused > 0 {
					t.Errorf("%d were refused", refused)
				}
				if outage > time.Second && refused > 1000 { // refused in the second in which the cause was unknown
					t.Errorf("%d were refused", refused)
				}
			})
		})
	}
}

// Without services no call is refused.
func TestLoadUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 1, 0)
		if at := q.run(5*time.Second, 1000); at.refused > 0 {
			t.Errorf("%d were refused, and nobody takes anything", at.refused)
		}
		q.giveUp(0)
		q.second = 1000
		if at := q.run(3*time.Second, 4000); at.refused == 0 {
			t.Fatal("none was refused")
		}
		q.second = 0
		q.run(loadAway+loadEvery, 4000)
		if at := q.run(time.Second, 4000); at.refused > 0 {
			t.Errorf("without replies %d were refused", at.refused)
		}
	})
}

// A negative limit refuses nothing.
func TestLoadWithoutLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 1, 1000)
		q.clients[0].most = -1
		if at := q.run(3*time.Second, 4000); at.refused > 0 {
			t.Errorf("%d were refused", at.refused)
		}
	})
}

// A call that would wait beyond its deadline is refused too. A client that has no calls in flight
// still admits one.
func TestLoadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 1, 1000)
		q.wait(q.clients[0], 40)
		q.run(time.Second, 1000)
		c, now := q.clients[0], time.Now()
		if err := c.admit(now, now.Add(time.Second)); err != nil {
			t.Errorf("40 ms to wait, and a second to go: %v", err)
		}
		soon := now.Add(20 * time.Millisecond)
		if err := c.admit(now, soon); !errors.Is(err, ErrOverloaded) {
			t.Errorf("40 ms to wait, and 20 to go: %v", err)
		}
		q.giveUp(0)
		if err := c.admit(now, soon); err != nil {
			t.Errorf("nothing in flight: %v", err)
		}
	})
}
