package gateways

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// OverloadError refuses a call that the services would not come to in time: too many requests, of
// all clients, wait before it. It is ErrOverloaded.
type OverloadError struct {
	// Wait is how long the request would have waited before a service took it.
	Wait time.Duration
	// RetryAfter is when there may be room again.
	RetryAfter time.Duration
}

func (e *OverloadError) Error() string {
	return fmt.Sprintf(
		"gateways: requests wait %v for a service now: try again in %v",
		e.Wait.Round(time.Millisecond),
		e.RetryAfter.Round(time.Millisecond),
	)
}

// Is makes it ErrOverloaded.
func (e *OverloadError) Is(target error) bool { return target == ErrOverloaded }

// load knows how long a request waits before a service takes it.
//
// Idea: a request waits for those that stand before it in the stream and have not been taken: the
// lag of the services' group. How fast they are taken is seen as well; and while there is a lag,
// that is as fast as the services can. So a client looks at both, ten times a second while it has
// calls in flight or refuses some. Between two looks it adds what it has sent itself, and what
// others have in the meantime: so much more as they had sent lately. All clients do the same, and
// so let in together what there is room for, without a word among them.
//
// A queue is good for bursts only: one that stays gives nobody an answer sooner, and everybody a
// later one (CoDel: Nichols and Jacobson, 2012). So when the wait has been long for a while, calls
// are let in that would wait a little, and no longer the most.
//
// Where nobody takes anything there is nothing to tell: services that are away are no overload, and
// their calls time out. An outage looks like a lag as well. So a look that fails, and a while in
// which nothing moved, forget what was seen before; and one span of time in which next to nothing
// was taken does not count.
type load struct {
	rdb        redis.UniversalClient
	key, group string
	most       time.Duration // MaxWait; negative: don't refuse

	backlog atomic.Pointer[backlog] // nil: nothing is known
	sent    atomic.Int64            // calls that were let in
	turned  atomic.Bool             // calls were refused since the last look

	// Of look alone.
	last  sight
	from  sight // a span begins here; zero: none does
	spans []span
	moved time.Time // when something had been taken, or there was nothing to take
	long  time.Time // since when the wait is long; zero: it is not
	stays bool      // and has been for a while
}

// backlog is what a look makes of what it has seen.
type backlog struct {
	at     time.Time
	sent   int64 // by then
	lag    float64
	second float64       // how many are taken in one
	share  float64       // how many of those that are sent are this client's
	limit  time.Duration // of the wait
}

// sight is what a look sees.
type sight struct {
	at         time.Time
	lag, taken int64
	sent       int64 // by this client
}

// span is from one look to another, while there was a lag and something was taken.
type span struct {
	end                time.Time
	took               time.Duration
	taken, added, sent float64
}

const (
	loadEvery  = 100 * time.Millisecond
	loadIdle   = time.Second // without calls in flight
	loadStale  = time.Second // what was seen before that tells nothing of now
	loadAway   = time.Second // in which nothing is taken; longer where that is, or may be, too short for four requests
	loadLong   = 500 * time.Millisecond
	loadPart   = 5  // the wait is long from this part of the most on
	loadLittle = 10 // and when it has been for a while, calls may wait this part of it

	spansMost  = 20 // that count
	spansFew   = 4  // that count whatever their age
	spansFresh = 2 * time.Second
	spansKept  = 5 * time.Second // without a lag
	takenFew   = 4               // are too few for one span to tell how fast it goes
	surely     = 10              // are expected, so that none is no chance
	shareLeast = 0.1
	shareGrows = 1.25 // how much more than lately a client may have of what there is

	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
)

// admit refuses a call that would wait longer than it may. until is zero for one without an end.
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

// look asks the server, if it is time to.
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

// saw takes the lag of the group, negative if it is not known, and how many it has taken in all.
func (l *load) saw(now time.Time, lag, taken int64) {
	was, this := l.last, sight{now, lag, taken, l.sent.Load()}
	l.last = this
	moved := taken != was.taken
	switch {
	case lag < 0 || taken < was.taken:
		l.forget()
		return
	case was.lag < 0: // it may have been an outage, which may last
		l.moved = now
	case was.at.IsZero() || now.Sub(was.at) > loadStale: // what was in between is not known
		l.from, l.moved = this, now
	case lag == 0 || was.lag == 0: // demand may be what bounds it: it counts if it shows that services are quicker than known
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

// span ends a span, and begins the next.
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

// tell tells admit what is known by now.
func (l *load) tell(this sight, moved bool) {
	if n := len(l.spans); n > 0 && this.lag == 0 && this.at.Sub(l.spans[n-1].end) > spansKept {
		l.spans = nil
	}
	for len(l.spans) > spansMost || len(l.spans) > spansFew && this.at.Sub(l.spans[0].end) > spansFresh {
		l.spans = slices.Delete(l.spans, 0, 1)
	}
	second, share := l.rate()
	if second <= 0 || this.lag == 0 { // services that keep up may be quicker than was needed yet
		l.backlog.Store(nil)
		l.long, l.stays = time.Time{}, false
		return
	}
	wait, long := time.Duration(float64(this.lag)/second*float64(time.Second)), l.most/loadPart
	switch {
	case wait <= long/4,
		!l.stays && (wait <= long || !moved && second*loadEvery.Seconds() >= surely): // it is short, or services hang
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

// rate is how many are taken in a second, and how many of those that are sent are this client's; 0
// if that is not known. The slowest span does not count when all others were more than twice as
// fast.
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
	if len(l.spans) < 2 { // it may be chance, or behind a pause
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

// away is for how long nothing has been taken when the services are away.
func (l *load) away() time.Duration {
	second, _ := l.rate()
	if second <= 0 {
		return mostWait
	}
	return min(max(loadAway, time.Duration(4/second*float64(time.Second))), mostWait)
}

// forget makes it know nothing.
func (l *load) forget() {
	l.from, l.spans, l.long, l.stays = sight{}, nil, time.Time{}, false
	l.backlog.Store(nil)
}
