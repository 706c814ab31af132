package flow

import (
	"sync/atomic"
	"time"
)

// Idea of lending: waking a lane's goroutine takes longer than a quick handler does. So a source that
// has read few messages handles them on its own goroutine while the lane behind its edge is idle. The
// state of a lane belongs to the holder of its token. The lane's goroutine puts the token down while
// it blocks for input, and the source picks it up.
//
// The order is kept, because nothing is on its way through the edge, and only the source sends. The
// lane's goroutine does everything else. It is woken if the lane has failed, or has an earlier alarm
// than before.
//
// A slow handler keeps the source from reading. So the lane must have been quick the last time. And
// other processes must be able to take the entries of the source (GivesBack). That excludes sources
// in memory: their next read may be what a handler waits for.

// turns is the part of a lane about its goroutine's waits for input.
type turns struct {
	token chan struct{} // holds the token while the lane waits for input
	wake  chan struct{} // holds a token after a hold was ended, which any goroutine may do
	timer *time.Timer   // owned by the lane's goroutine; nil before the first alarm
	due   time.Time     // when the timer fires; the zero time for never
	woke  time.Time     // the end of the last wait
	fresh bool          // a chunk was handled since
	quick bool          // the last chunk took at most lendFor, with passing on
}

const (
	lendFor  = 200 * time.Microsecond
	lendMost = 8 // messages
)

func newTurns() turns {
	return turns{token: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

// rest is called before the lane waits for input, and resume after it.
func (la *lane) rest() {
	now := time.Now()
	if la.fresh {
		la.fresh, la.quick = false, now.Sub(la.woke) <= lendFor
	}
	la.haltFor(nil, true, now)
	la.token <- struct{}{}
}

func (la *lane) resume() {
	<-la.token
	la.resumed()
}

func (la *lane) resumed() {
	la.clock = time.Now()
	la.woke = la.clock
	la.steps, la.looked = 0, 0
	la.except(la.clock.Sub(la.halted))
}

// alarmed returns a channel that delivers when the lane's first alarm is due; nil without an alarm.
func (la *lane) alarmed() <-chan time.Time {
	la.due = la.nextAlarm()
	switch {
	case la.due.IsZero():
		return nil
	case la.timer == nil:
		la.timer = time.NewTimer(time.Until(la.due))
	default:
		la.timer.Reset(time.Until(la.due))
	}
	return la.timer.C
}

// lending is the part of an edge about a source that handles chunks itself.
type lending[T any] struct {
	reader atomic.Pointer[reading[T]] // the last life of a lane that reads the edge
	taken  atomic.Uint64              // chunks that left the edge
}

// reading is one life of a lane that reads an edge.
type reading[T any] struct {
	*edge[T]
	la      *lane
	pushAll func([]Message[T])
}

// consume is the body of the lane. It handles each chunk until the edge is closed.
func (r *reading[T]) consume() error {
	la := r.la
	for !la.aborted {
		if err := la.ring(); err != nil {
			return err
		}
		chunk, ok, again := receive(la, r.ch)
		if again {
			continue
		}
		r.taken.Add(1)
		if puller := r.puller.Load(); puller != nil {
			wake(puller.wake)
		}
		if !ok || la.aborted {
			giveBack(la, chunk)
			return nil
		}
		r.handle(chunk)
	}
	return nil
}

func (r *reading[T]) handle(chunk []Message[T]) {
	r.la.fresh = true
	r.pushAll(chunk)
	r.recycle(chunk)
	r.la.dirty.tell()
}

// lend handles a chunk in the lane behind the edge, on the goroutine of the source. The source's own
// lane is from. It reports false if the chunk must be sent.
func (e *edge[T]) lend(from *lane, chunk []Message[T]) bool {
	if !e.gives || len(chunk) > lendMost || e.stats.chunks.Load() != e.taken.Load() {
		return false
	}
	r := e.reader.Load()
	if r == nil || !r.la.borrow() {
		return false
	}
	e.stats.sent(len(chunk))
	e.taken.Add(1)
	r.borrowed(chunk)
	from.aborted = from.ctx.Err() != nil // the graph may have closed the Reader meanwhile
	return true
}

// borrow takes the token of an idle lane that was quick. It reports false if the lane is busy, slow
// or aborted.
func (la *lane) borrow() bool {
	select {
	case <-la.token:
	default:
		return false
	}
	if la.aborted || !la.quick {
		la.token <- struct{}{}
		return false
	}
	return true
}

// borrowed handles a chunk with the token of the lane, and puts that back.
func (r *reading[T]) borrowed(chunk []Message[T]) {
	la := r.la
	la.resumed()
	sooner := false
	defer func() {
		rings := sooner || la.aborted
		if la.rest(); rings {
			wake(la.wake)
		}
	}()
	err := contained(func() error {
		if r.handle(chunk); !la.aborted {
			la.settleStrays()
			la.flush(true)
			at := la.nextAlarm()
			sooner = !at.IsZero() && (la.due.IsZero() || at.Before(la.due))
		}
		return nil
	}, func() {
		la.aborted = true
		la.run.stages[r.stats.to].fail(errGoexit)
	})
	if err != nil {
		la.fail(err)
	}
}
