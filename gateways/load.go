package gateways

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// OverloadError refuses a call that the services would not come to in time: too many requests, of all clients, wait before it. It is
// ErrOverloaded.
type OverloadError struct {
	// Wait is how long the request would have waited before a service took it.
	Wait time.Duration
	// RetryAfter is when there may be room again.
	RetryAfter time.Duration
}

func (e *OverloadError) Error() string {
	return fmt.Sprintf("gateways: requests wait %v for a service now: try again in %v", e.Wait.Round(time.Millisecond), e.RetryAfter.Round(time.Millisecond))
}

// Is makes it ErrOverloaded.
func (e *OverloadError) Is(target error) bool { return target == ErrOverloaded }

// load knows how long a request waits before a service takes it.
//
// Idea: a request waits for those that stand before it in the stream and have not been taken: the lag of the services' group. How
// fast they are taken is seen as well; and while there is a lag, that is as fast as the services can. So a client asks for both,
// ten times a second while it has calls in flight, and adds what it has sent since. Without a lag, and where nobody takes
// anything, there is nothing to tell: services that are away are no overload, and their calls time out. An outage looks like a lag
// as well. So a look that fails, and a second in which nothing moved, forget what was seen before; and while calls are refused one
// goes through now and then, so that there is something to see.
type load struct {
	rdb        redis.UniversalClient
	key, group string
	most       time.Duration // MaxWait; negative: don't refuse

	backlog atomic.Pointer[backlog] // nil: none
	sent    atomic.Int64            // since it was made
	let     atomic.Int64            // when a call was let in last, in Unix nanoseconds

	// Of look alone.
	looked time.Time
	moved  mark    // when more had been taken than before
	marks  [2]mark // while there is a lag: what had been taken some time ago, the older first
}

// backlog is what a look has found.
type backlog struct {
	at     time.Time
	lag    float64
	second float64 // how many are taken in one
}

type mark struct {
	at    time.Time
	taken int64
}

const (
	loadEvery = 100 * time.Millisecond
	loadIdle  = time.Second // without calls in flight
	loadStale = time.Second // what was seen before that is forgotten
	loadProbe = loadEvery   // a call goes through if none has for that long
	markEvery = time.Second // what is taken is counted over one to two of these
	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
)

// admit refuses a call that would wait longer than it may. until is zero for one without an end.
func (l *load) admit(until time.Time) error {
	b := l.backlog.Load()
	if b == nil {
		return nil
	}
	now := time.Now()
	since := now.Sub(b.at)
	if since > loadStale {
		return nil
	}
	before := b.lag + float64(l.sent.Load()) - b.second*since.Seconds()
	wait := time.Duration(before / b.second * float64(time.Second))
	limit := l.most
	if !until.IsZero() {
		limit = min(limit, until.Sub(now))
	}
	if last := l.let.Load(); wait > limit && (now.UnixNano()-last < int64(loadProbe) || !l.let.CompareAndSwap(last, now.UnixNano())) {
		return &OverloadError{Wait: wait, RetryAfter: min(max(wait-limit, leastWait), mostWait)}
	}
	l.let.Store(now.UnixNano())
	l.sent.Add(1)
	return nil
}

// look asks the server, if it is time to.
func (l *load) look(ctx context.Context, busy bool) error {
	now := time.Now()
	if l.most < 0 || !busy && now.Sub(l.looked) < loadIdle {
		return nil
	}
	l.looked = now
	groups, err := l.rdb.XInfoGroups(ctx, l.key).Result()
	if err != nil {
		l.forget()
		return nil
	}
	i := slices.IndexFunc(groups, func(g redis.XInfoGroup) bool { return g.Name == l.group })
	if i < 0 {
		l.saw(now, -1, 0)
		return nil
	}
	l.saw(now, groups[i].Lag, groups[i].EntriesRead)
	return nil
}

// saw takes the lag of the group, negative if it is not known, and how many it has taken in all.
func (l *load) saw(now time.Time, lag, taken int64) {
	if lag <= 0 {
		l.forget()
		return
	}
	this := mark{now, taken}
	if now.Sub(l.moved.at) > loadStale { // not seen, or away: what comes now goes at another rate
		l.forget()
		l.moved = this
	}
	if taken != l.moved.taken {
		l.moved = this
	}
	switch {
	case l.marks[0].at.IsZero():
		l.marks = [2]mark{this, this}
		return // how fast it goes is not known yet
	case now.Sub(l.marks[1].at) >= markEvery:
		l.marks = [2]mark{l.marks[1], this}
	}
	from := l.marks[0]
	if taken <= from.taken {
		l.backlog.Store(nil)
		return
	}
	l.sent.Store(0)
	l.backlog.Store(&backlog{at: now, lag: float64(lag), second: float64(taken-from.taken) / now.Sub(from.at).Seconds()})
}

// forget makes it know nothing.
func (l *load) forget() {
	l.moved, l.marks = mark{}, [2]mark{}
	l.backlog.Store(nil)
}
