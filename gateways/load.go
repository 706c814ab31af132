package gateways

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
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

// load estimates how long a request waits before a service takes it.
//
// Idea: a request waits for the requests before it in the stream that have not been taken, the lag
// of the services' group. While there is a lag, the services take requests at their full rate. So a
// client measures lag and rate ten times a second while it has calls in flight or refuses some.
// Between two measurements it adds its own requests, and extrapolates other clients' from their
// recent share. All clients do the same, so they share the capacity without coordination.
//
// A queue should only absorb bursts: a standing queue delays all calls and speeds up none (CoDel:
// Nichols and Jacobson, 2012). So when the wait has been long for a while, only a short wait is
// accepted.
//
// If nothing is taken, there is no rate: the services are away rather than overloaded, and their
// calls time out. An outage looks like a lag as well. So a failed measurement, or a time without
// progress, discards older measurements, and a single span in which almost nothing was taken is
// ignored.
type load struct {
	rdb        redis.UniversalClient
	key, group string
	most       time.Duration // MaxWait; negative disables refusals

	backlog atomic.Pointer[backlog] // nil: nothing is known
	sent    atomic.Int64            // calls that were admitted
	turned  atomic.Bool             // calls were refused since the last look

	// Owned by look.
	last  sight
	from  sight // start of the current span; zero: no span
	spans []span
	moved time.Time // the last time that something had been taken, or the queue was empty
	long  time.Time // since when the wait is long; zero if it is not
	stays bool      // it has been long for a while
}

// backlog is the estimate derived from the measurements.
type backlog struct {
	at     time.Time
	sent   int64 // value of load.sent at that time
	lag    float64
	second float64       // requests taken per second
	share  float64       // this client's share of the requests sent
	limit  time.Duration // limit of the wait
}

// sight is one measurement.
type sight struct {
	at         time.Time
	lag, taken int64
	sent       int64 // by this client
}

// span is the time between two measurements with a lag in which something was taken.
type span struct {
	end                time.Time
	took               time.Duration
	taken, added, sent float64
}

const (
	loadEvery  = 100 * time.Millisecond
	loadIdle   = time.Second // interval without calls in flight
	loadStale  = time.Second // age from which a measurement is useless
	loadAway   = time.Second // without progress for so long, services are away; longer at low rates
	loadLong   = 500 * time.Millisecond
	loadPart   = 5  // the wait is long from this fraction of the limit
	loadLittle = 10 // and after a while calls may wait this fraction of it

	spansMost  = 20 // spans that count
	spansFew   = 4  // spans that count regardless of their age
	spansFresh = 2 * time.Second
	spansKept  = 5 * time.Second // how long spans are kept without a lag
	takenFew   = 4               // too few requests for one span to show the rate
	surely     = 10              // if so many were expected, zero is not a coincidence
	shareLeast = 0.1
	shareGrows = 1.25 // how much a client's share may exceed its recent share

	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
)

// admit refuses a call if its estimated wait is too long. until is zero for a call without a
// deadline.
func (l *load) admit(until time.Time) error {
	sent := l.sent.Add(1) - 1
	b := l.backlog.Load()
	if b == nil {
		return nil
	}
	now := time.Now()
	since := now.Sub(b.at)
	if since > loadStale {
		return nil
	}
	before := b.lag + float64(sent-b.sent)/b.share - b.second*since.Seconds()
	wait := time.Duration(before / b.second * float64(time.Second))
	limit := b.limit
	if !until.IsZero() {
		limit = min(limit, until.Sub(now))
	}
	if wait <= limit {
		return nil
	}
	l.sent.Add(-1)
	l.turned.Store(true)
	return &OverloadError{Wait: wait, RetryAfter: min(max(wait-limit, leastWait), mostWait)}
}

// look measures if it is time to.
func (l *load) look(ctx context.Context, busy bool) error {
	now := time.Now()
	busy = l.turned.Swap(false) || busy
	if l.most < 0 || !busy && now.Sub(l.last.at) < loadIdle {
		return nil
	}
	groups, err := l.rdb.XInfoGroups(ctx, l.key).Result()
	if err != nil {
		l.saw(now, -1, 0)
		return nil
	}
	i := slices.IndexFunc(groups, func(g redis.XInfoGroup) bool { return g.Name == l.group })
	if i < 0 {
		l.saw(now, -1, 0)
		return nil
	}
	l.saw(time.Now(), groups[i].Lag, groups[i].EntriesRead)
	return nil
}

// saw records the group's lag (negative if unknown) and the total number taken.
func (l *load) saw(now time.Time, lag, taken int64) {
	was, this := l.last, sight{now, lag, taken, l.sent.Load()}
	l.last = this
	moved := taken != was.taken
	switch {
	case lag < 0 || taken < was.taken:
		l.forget()
		return
	case was.lag < 0: // it may be an outage that continues
		l.moved = now
	case was.at.IsZero() || now.Sub(was.at) > loadStale: // nothing is known of the time between
		l.from, l.moved = this, now
	case lag == 0 || was.lag == 0:
		// Demand may limit the rate: count the span only if it shows a higher rate than known.
		if second, _ := l.rate(); moved && float64(taken-was.taken) > second*now.Sub(was.at).Seconds() &&
			(lag > 0 || second > 0) {
			l.from = was
			l.span(this)
		}
		l.from, l.moved = this, now
	case moved:
		l.moved = now
		l.span(this)
	case now.Sub(l.moved) > l.away():
		l.forget()
		return
	}
	if lag == 0 {
		l.from = sight{}
	}
	l.tell(this, moved)
}

// span ends a span and starts the next.
func (l *load) span(this sight) {
	if from := l.from; !from.at.IsZero() {
		taken := float64(this.taken - from.taken)
		l.spans = append(
			l.spans,
			span{
				this.at,
				this.at.Sub(from.at),
				taken,
				taken + float64(this.lag-from.lag),
				float64(this.sent - from.sent),
			},
		)
	}
	l.from = this
}

// tell publishes the estimate for admit.
func (l *load) tell(this sight, moved bool) {
	if n := len(l.spans); n > 0 && this.lag == 0 && this.at.Sub(l.spans[n-1].end) > spansKept {
		l.spans = nil
	}
	for len(l.spans) > spansMost || len(l.spans) > spansFew && this.at.Sub(l.spans[0].end) > spansFresh {
		l.spans = slices.Delete(l.spans, 0, 1)
	}
	second, share := l.rate()
	if second <= 0 || this.lag == 0 { // services that keep up may be faster than needed so far
		l.backlog.Store(nil)
		l.long, l.stays = time.Time{}, false
		return
	}
	wait, long := time.Duration(float64(this.lag)/second*float64(time.Second)), l.most/loadPart
	switch {
	case wait <= long/4,
		// The wait is short, or services hang.
		!l.stays && (wait <= long || !moved && second*loadEvery.Seconds() >= surely):
		l.long, l.stays = time.Time{}, false
	case l.long.IsZero():
		l.long = this.at
	case this.at.Sub(l.long) >= loadLong:
		l.stays = true
	}
	b := &backlog{this.at, this.sent, float64(this.lag), second, share, l.most}
	if l.stays {
		b.limit = l.most / loadLittle
	}
	l.backlog.Store(b)
}

// rate returns the requests taken per second and this client's share, or 0 if unknown. It ignores
// the slowest span if all others were more than twice as fast.
func (l *load) rate() (second, share float64) {
	var all, slow span
	for _, s := range l.spans {
		all.took += s.took
		all.taken += s.taken
		all.added += s.added
		all.sent += s.sent
		if slow.took == 0 || s.taken*slow.took.Seconds() < slow.taken*s.took.Seconds() {
			slow = s
		}
	}
	if len(l.spans) < 2 { // too few: it may be a coincidence, or follow a pause
		return 0, 0
	}
	share = 1
	if all.added > 0 {
		share = min(max(shareLeast, shareGrows*all.sent/all.added), 1)
	}
	second = all.taken / all.took.Seconds()
	if rest := (all.taken - slow.taken) / (all.took - slow.took).Seconds(); slow.taken < rest/2*slow.took.Seconds() {
		second = rest
	}
	return second, share
}

// away returns the time without progress after which services count as away.
func (l *load) away() time.Duration {
	second, _ := l.rate()
	if second <= 0 {
		return mostWait
	}
	return min(max(loadAway, time.Duration(4/second*float64(time.Second))), mostWait)
}

// forget discards all measurements.
func (l *load) forget() {
	l.from, l.spans, l.long, l.stays = sight{}, nil, time.Time{}, false
	l.backlog.Store(nil)
}
