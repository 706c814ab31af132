package gateways

import (
	"fmt"
	"time"
)

// OverloadError reports that a call was refused because its estimated queueing time is too long. It
// is ErrOverloaded.
type OverloadError struct {
	// Wait is the estimated queueing time.
	Wait time.Duration
	// RetryAfter is the recommended pause before a retry.
	RetryAfter time.Duration
}

func (e *OverloadError) Error() string {
	return fmt.Sprintf(
		"gateways: requests queue for %v: retry in %v",
		e.Wait.Round(time.Millisecond),
		e.RetryAfter.Round(time.Millisecond),
	)
}

// Is matches ErrOverloaded.
func (e *OverloadError) Is(target error) bool { return target == ErrOverloaded }

// load estimates how long a call would wait until a service takes its request. Guarded by
// Client.mu.
//
// Idea: a reply reports how long its request waited. While replies report waits, the services are
// busy, so the rate of the replies is this client's share of their capacity. By Little's law a new
// call takes the time in which that rate answers the calls in flight. The part of it that is no
// wait, such as handling, is known from the replies. All clients do the same, so they share the
// capacity without coordination.
//
// A queue should only absorb bursts: a standing queue delays all calls and speeds up none (CoDel:
// Nichols and Jacobson, 2012). So when the wait has been long for a while, only a short wait is
// accepted.
//
// Without replies no call is refused: the services are away rather than overloaded. A client
// without calls in flight admits one, so it always learns of changes.
type load struct {
	most  time.Duration // MaxWait; negative disables refusals
	calls int           // in flight, except streamed ones

	// The current span, which ends with the first reply after loadEvery.
	began      time.Time
	replies    int
	waits, all time.Duration // sums of the waits and of the durations of the calls
	shortest   time.Duration // of the waits

	// The estimate, from the last spans.
	mean   float64       // replies per second, a moving average
	second float64       // the mean, or the rate of the last span if it is higher
	wait   time.Duration // average of the last span
	least  time.Duration // shortest of the last span: while there is a queue, every request waits
	rest   time.Duration // average of the last span: the duration without the wait
	spans  int           // how many there were since a pause; one alone may be a coincidence
	long   int           // how many spans in succession had a long wait
	stays  bool          // it has been long for a while
}

const (
	loadEvery  = 100 * time.Millisecond
	loadAway   = time.Second // without replies for so long, services are away; longer at low rates
	loadLong   = 5           // spans
	loadPart   = 5           // the wait is long from this fraction of the limit
	loadLittle = 10          // and after a while calls may wait this fraction of it
	loadNone   = 20          // up to this fraction there is no queue
	loadOnce   = 8           // before the wait has been long for a while: one hiccup is no queue
	loadWeight = 8           // the last span has this fraction of the weight in the mean
	surely     = 4           // if so many replies were expected, a pause is not a coincidence

	leastTold = 2 * time.Millisecond // replies do not report shorter waits
	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
)

// admit refuses a call if its estimated wait is too long. until is zero for a call without a
// deadline.
func (l *load) admit(now, until time.Time) error {
	limit, none := l.most, l.most/loadOnce
	if l.stays {
		limit, none = l.most/loadLittle, l.most/loadNone
	}
	if l.most < 0 || l.calls == 0 || l.spans < 2 || l.least <= none ||
		now.Sub(l.began) > max(loadAway, l.takes(2*surely)) {
		return nil
	}
	if !until.IsZero() {
		limit = min(limit, until.Sub(now))
	}
	wait := l.takes(l.calls) - l.rest
	if wait <= limit {
		return nil
	}
	return &OverloadError{Wait: wait, RetryAfter: min(max(wait-limit, leastWait), mostWait)}
}

// takes returns the time in which n replies arrive.
func (l *load) takes(n int) time.Duration {
	if l.second == 0 {
		return mostWait
	}
	return time.Duration(float64(n) / l.second * float64(time.Second))
}

// replied records the reply to a call that took some time, including a wait.
func (l *load) replied(now time.Time, took, wait time.Duration) {
	if l.replies++; l.replies == 1 || wait < l.shortest {
		l.shortest = wait
	}
	l.waits += wait
	l.all += took
	if span := now.Sub(l.began); span >= loadEvery {
		l.tell(span)
		l.began, l.replies, l.waits, l.all = now, 0, 0, 0
	}
}

// pause is how long a span is at most, unless there were no replies.
func (l *load) pause() time.Duration { return max(2*loadEvery, l.takes(2*surely)) }

// tell updates the estimate after a span.
func (l *load) tell(span time.Duration) {
	if span > l.pause() { // after a pause the replies show neither rate nor wait
		if span > loadAway {
			*l = load{most: l.most, calls: l.calls}
		}
		return
	}
	n := time.Duration(l.replies)
	second := float64(n) / span.Seconds()
	if l.second == 0 {
		l.mean = second
	}
	l.mean += (second - l.mean) / loadWeight
	l.second = max(l.mean, second)
	l.spans++
	l.wait, l.least, l.rest = l.waits/n, l.shortest, (l.all-l.waits)/n
	switch {
	case l.wait <= l.most/loadNone:
		l.long, l.stays = 0, false
	case l.wait > l.most/loadPart:
		l.long++
		l.stays = l.stays || l.long > loadLong
	case !l.stays:
		l.long = 0
	}
}
