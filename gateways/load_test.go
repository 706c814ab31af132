package gateways

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// queue simulates a stream with services that take from it and clients that send to it, in steps of
// a millisecond. Its results are deterministic.
type queue struct {
	t       *testing.T
	clients []*load
	second  float64 // how many requests services can take in a second
	offered float64 // calls of all clients in a second

	lag, taken   int64
	ready, due   float64 // fractions below one
	step, next   int
	looks        bool
	let, refused int
	longest      time.Duration // the longest wait of an admitted call
}

func newQueue(t *testing.T, clients int, second float64) *queue {
	q := &queue{t: t, second: second, looks: true}
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
	q.step++
	q.ready += q.second / 1000
	for ; q.ready >= 1; q.ready-- {
		if q.lag > 0 {
			q.lag--
			q.taken++
		}
	}
	q.due += q.offered / 1000
	for ; q.due >= 1; q.due-- {
		q.next++
		var over *OverloadError
		switch err := q.clients[q.next%len(q.clients)].admit(time.Time{}); {
		case err == nil:
			q.let++
			q.longest = max(q.longest, time.Duration(float64(q.lag)/max(q.second, 1)*float64(time.Second)))
			q.lag++
		case errors.As(err, &over) && errors.Is(err, ErrOverloaded) && over.RetryAfter >= leastWait &&
			over.RetryAfter <= mostWait && over.Wait > 0:
			q.refused++
		default:
			q.t.Errorf("%v", err)
		}
	}
	for i, c := range q.clients { // one after the other
		if q.looks && (q.step+i*101/len(q.clients))%100 == 0 {
			c.saw(time.Now(), q.lag, q.taken)
		}
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
				for q.lag > 0 { // and it ends
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
		before := q.lag
		at := q.run(5*time.Minute, 0.5)
		if q.lag > before+5 || at.refused < 60 || at.taken < 70 {
			t.Errorf("%d wait after %d; %d were refused, %d taken", q.lag, before, at.refused, at.taken)
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
				q.lag = 20
				refused := q.run(5*time.Second, 5000).refused // the services are busy, and keep up
				q.second = 0
				refused += q.run(outage, 1300).refused
				q.second, q.lag = 5000, min(q.lag, 1200) // less than 250 ms
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

// Without services, or when Redis can't be asked, no call is refused.
func TestLoadUnknown(t *testing.T) {
	down := redis.NewClient(
		&redis.Options{
			MaxRetries:    -1,
			DialerRetries: 1,
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("down")
			},
		},
	)
	t.Cleanup(func() { _ = down.Close() })
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 1, 0)
		if at := q.run(5*time.Second, 1000); at.refused > 0 {
			t.Errorf("%d were refused, and nobody takes anything", at.refused)
		}
		q.second, q.lag = 1000, 0
		full := func() {
			if at := q.run(3*time.Second, 4000); at.refused == 0 {
				t.Fatal("none was refused")
			}
		}
		admits := func(what string, d time.Duration) {
			t.Helper()
			if at := q.run(d, 4000); at.refused > 0 {
				t.Errorf("%s: %d were refused", what, at.refused)
			}
		}
		full()
		q.looks = false
		c := q.clients[0]
		c.rdb = down
		if err := c.look(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		admits("a look that failed", 100*time.Millisecond)
		q.looks = true
		full()
		q.looks = false
		q.run(loadStale+loadEvery, 4000)
		admits("a look that is stale", 100*time.Millisecond)
		q.looks = true
		full()
		c.saw(time.Now(), 1000, 0)
		q.looks = false
		admits("a group that was made again", 100*time.Millisecond)
	})
}

// A call that would wait beyond its deadline is refused too. A client that admits no call still
// measures.
func TestLoadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 1, 1000)
		q.lag = 40
		q.run(time.Second, 1000)
		c := q.clients[0]
		if err := c.admit(time.Now().Add(time.Second)); err != nil {
			t.Errorf("40 ms to wait, and a second to go: %v", err)
		}
		if c.turned.Load() {
			t.Error("nothing was refused yet")
		}
		if err := c.admit(time.Now().Add(20 * time.Millisecond)); !errors.Is(err, ErrOverloaded) || !c.turned.Load() {
			t.Errorf("40 ms to wait, and 20 to go: %v", err)
		}
	})
}
