package flow

import (
	"context"
	"sync/atomic"
	"time"
)

// lane is one goroutine's life of a chain of fused stages: their state, what they hold and have not passed on, and the
// settlements not told of. Everything in it belongs to that goroutine.
//
// Idea of flushing: nothing waits for a chunk to fill. When the lane's input runs dry it passes on
// what it has before it blocks. While the input keeps coming, the lane looks at the clock every few
// messages, or after each when they are slow, and passes on what is older than flushAfter where
// that does not block.
type lane struct {
	run  *Running
	ctx  context.Context // the hard context: done at Stop, at the drain's deadline, when the graph fails
	news news
	hand inHand
	meter

	stages []*stageBase  // whose contexts inHand renews
	wake   chan struct{} // holds a token when a hold was ended, maybe by another goroutine

	// aborted is set when the lane must not go on: what is pushed from then on goes back to its source.
	aborted bool
	failure error // of an alarm that rang between two messages: the life ends with it

	raw   bool            // no handler has begun what it pushes
	drain <-chan struct{} // closed when the graph drains, for a lane that has to do something then; else nil
	idle  atomic.Bool     // it waits for its input

	hooks  []hook // downstream first
	alarms []alarm

	// park, in a keyed worker, puts the message at hand away until its retry is due, and tried is how often it has been
	// tried before it came here.
	park  func(after time.Duration, tried int)
	tried int

	clock   time.Time // when step last looked at it
	flushed time.Time
	steps   int // messages of the chunk at hand
	looked  int // of these when step last looked at the clock
	slow    bool
}

// hook is a stage's part in the life of its lane. Any function may be nil.
type hook struct {
	open  func() error     // before the first message
	flush func(block bool) // pass on what is buffered; if not block, only where that is possible at once
	end   func() error     // the input has ended: pass on all that is left
	drop  func()           // the life ends early: give back what is buffered and held
	close func()           // the life is over, whichever way
}

type alarm struct {
	next func() time.Time
	ring func() error
}

const (
	flushAfter = time.Millisecond
	clockEvery = 64
	slowAfter  = 20 * time.Microsecond // a message that takes longer makes the lane look at the clock after each
)

func newLane(r *Running) *lane {
	return &lane{run: r, ctx: r.hard, wake: make(chan struct{}, 1), meter: meter{waiting: true}}
}

// rouse makes the lane look after the holds that were ended, if it is idle. Called by any goroutine.
func (la *lane) rouse() {
	select {
	case la.wake <- struct{}{}:
	default:
	}
}

// settleStrays settles the holds that were ended outside their handler's calls. The lane is in no call.
func (la *lane) settleStrays() {
	for _, s := range la.stages {
		s.endCall(false)
	}
}

// live runs one life: opens the hooks, calls body, and closes them. Whichever way body ends, also by a panic, all that
// the lane's stages hold is passed on or given back.
func (la *lane) live(body func() error) error {
	opened, ended := 0, false
	la.run.lanes.add(la)
	defer la.run.lanes.remove(la)
	defer func() {
		if !ended {
			la.aborted = true
			for i := len(la.hooks) - 1; i >= 0; i-- {
				if f := la.hooks[i].drop; f != nil {
					f()
				}
			}
		}
		for i := range opened {
			if f := la.hooks[i].close; f != nil {
				f()
			}
		}
		la.account(time.Now())
		la.news.tell()
	}()
	for _, h := range la.hooks {
		opened++
		if h.open != nil {
			if err := h.open(); err != nil {
				return err
			}
		}
	}
	la.clock = time.Now()
	la.flushed = la.clock
	la.begin(la.clock)
	if err := body(); err != nil {
		return err
	}
	if la.failure != nil {
		return la.failure
	}
	if la.aborted {
		return nil
	}
	la.sample(true, time.Now())
	for i := len(la.hooks) - 1; i >= 0; i-- {
		if f := la.hooks[i].end; f != nil {
			if err := f(); err != nil {
				return err
			}
		}
	}
	ended = !la.aborted
	return nil
}

// flush passes on what the stages have buffered, and tells the sources what has settled.
func (la *lane) flush(block bool) {
	for i := len(la.hooks) - 1; i >= 0; i-- {
		if f := la.hooks[i].flush; f != nil {
			f(block)
		}
	}
	la.news.tell()
	la.flushed = time.Now()
	la.clock = la.flushed
	la.account(la.clock)
}

// step is called after each message; see flushing above. In a chunk it looks at the clock after 1,
// 2, 4, … 64 messages and then after every 64th, so that when they turn slow at most as many wait
// as have gone by.
func (la *lane) step() {
	la.steps++
	if n := la.steps; !la.slow && n&(n-1) != 0 && n%clockEvery != 0 {
		return
	}
	now := time.Now()
	took := now.Sub(la.clock) / time.Duration(max(la.steps-la.looked, 1))
	la.slow = took > slowAfter
	la.clock, la.looked = now, la.steps
	la.sample(la.slow || la.sampling && la.steps < sampleSize, now)
	if now.Sub(la.flushed) >= flushAfter {
		la.poll()
	}
}

// poll flushes a busy lane, rings the alarms that are due, and sees whether the lane is still wanted.
func (la *lane) poll() {
	la.flush(false)
	if err := la.ring(); err != nil {
		la.failure = err
		la.aborted = true
	}
	if la.ctx.Err() != nil {
		la.aborted = true
	}
}

// sleep waits for the time to retry a message of st, having passed on all others. It reports false when the lane is
// stopped.
func (la *lane) sleep(st *stageRun, d time.Duration) bool {
	la.flush(true)
	return la.pause(st, d)
}

// pause waits as sleep does, but passes on nothing.
func (la *lane) pause(st *stageRun, d time.Duration) bool {
	began := st.retrying.begin()
	la.halt(began)
	defer func() { la.except(st.retrying.end(began)) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return !la.aborted
	case <-la.ctx.Done():
		la.aborted = true
		return false
	}
}

// nextAlarm returns when the first alarm is due; the zero time for never.
func (la *lane) nextAlarm() time.Time {
	var first time.Time
	for _, a := range la.alarms {
		if at := a.next(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// ring rings the alarms that are due.
func (la *lane) ring() error {
	if len(la.alarms) == 0 {
		return nil
	}
	now := time.Now()
	for i := len(la.alarms) - 1; i >= 0; i-- {
		if at := la.alarms[i].next(); !at.IsZero() && !at.After(now) {
			la.sample(true, time.Now())
			if err := la.alarms[i].ring(); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive blocks until in has something (ok), is closed (!ok), the lane is stopped (!ok and
// aborted), or an alarm is due, holds were ended, or the lane's drain begins (again). Before it
// blocks it flushes the lane.
func receive[V any](la *lane, in <-chan V) (v V, ok, again bool) {
	select {
	case v, ok = <-in:
		return v, ok, false
	default:
	}
	la.settleStrays()
	la.flush(true)
	var due <-chan time.Time
	if at := la.nextAlarm(); !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		due = t.C
	}
	began := la.rest()
	defer la.resume(began)
	select {
	case v, ok = <-in:
		return v, ok, false
	case <-due:
		return v, true, true
	case <-la.wake:
		return v, true, true
	case <-la.drain:
		return v, true, true
	case <-la.ctx.Done():
		la.aborted = true
		return v, false, false
	}
}

// rest is called before the lane blocks for input, and resume after it.
func (la *lane) rest() (began time.Time) {
	la.idle.Store(true)
	began = time.Now()
	la.halt(began)
	return began
}

func (la *lane) resume(began time.Time) {
	la.idle.Store(false)
	la.clock = time.Now()
	la.except(la.clock.Sub(began))
}

// consume is the body of a lane that reads an edge: it pushes each message down the chain until the edge is closed.
func consume[T any](la *lane, e *edge[T], push func(Message[T])) error {
	la.raw = e.raw
	pushAll := func(chunk []Message[T]) {
		pushAll(la, chunk, push)
		e.stats.worked(len(chunk))
	}
	if e.gives != nil {
		h := e.gives.join(e.stats)
		defer e.gives.leave(h)
		pushAll = func(chunk []Message[T]) { h.pushAll(la, chunk, push) }
	}
	for {
		if err := la.ring(); err != nil {
			return err
		}
		chunk, ok, again := receive(la, e.ch)
		if again {
			continue
		}
		if !ok || la.aborted {
			giveBack(la, chunk)
			return nil
		}
		pushAll(chunk)
		e.recycle(chunk)
		la.news.tell()
		if la.aborted {
			return nil
		}
	}
}

// pushAll pushes a chunk. If the lane is aborted or panics on the way, what has not been pushed goes back.
func pushAll[T any](la *lane, chunk []Message[T], push func(Message[T])) {
	next := 0
	la.beginChunk()
	leased := la.run.leased.Load()
	defer func() {
		if leased {
			la.put()
		}
		if next < len(chunk) {
			giveBack(la, chunk[next:])
		}
	}()
	for i := range chunk {
		if la.aborted {
			return
		}
		next = i + 1
		pushOne(la, chunk[i], leased, push)
	}
}

func pushOne[T any](la *lane, m Message[T], leased bool, push func(Message[T])) {
	if leased && !la.take(m.lease) {
		m.lease.release(Nacked, nil, &la.news)
		return
	}
	push(m)
	if !la.aborted {
		la.step()
	}
}

// giveBack releases messages unfinished that the lane has not pushed.
func giveBack[T any](la *lane, chunk []Message[T]) {
	giveBackTo(&la.news, chunk, la.raw && la.tried == 0)
}

// giveBackTo releases messages unfinished. raw says that no handler has begun them.
func giveBackTo[T any](news *news, chunk []Message[T], raw bool) {
	for i := range chunk {
		if raw {
			chunk[i].lease.giveBack(news)
		} else {
			chunk[i].lease.release(Nacked, nil, news)
		}
	}
}
