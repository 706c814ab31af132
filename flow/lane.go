package flow

import (
	"context"
	"time"
)

// lane is one goroutine's life of a chain of fused stages: their state, their buffered and held
// messages, and the settlements not reported yet. All of it is owned by that goroutine, which lends it
// while it waits for input: see lend.
//
// Idea of flushing: nothing waits for a chunk to fill. When the lane's input is empty, it passes on
// its buffers before it blocks. While input keeps coming, the lane reads the clock every few
// messages, or after each message while they are slow, and passes on buffers older than flushAfter
// if that does not block.
type lane struct {
	run   *Running
	ctx   context.Context // the hard context: done at Stop, at the drain's deadline, or when the graph fails
	dirty dirtySessions
	*meter
	turns
	nest *nesting // of the life of a key's sub-pipeline, else nil: see Nest

	stages []*stageBase

	// aborted is set when the lane must stop. Messages pushed after that go back to their source.
	aborted bool
	failure error // of an alarm between two messages, or of a new handler; ends the life

	raw bool // no handler has begun the messages it pushes

	maxBlocked time.Duration // see Traits.MaxBlocked; 0: no limit
	impatient  *stageRun     // the stage that has it

	hooks  []hook // downstream first
	alarms []alarm

	// park, in a keyed worker, stores the current message until its retry is due. tried is how
	// often that message was tried before this lane received it.
	park  func(after time.Duration, tried int)
	tried int

	flushClock
}

// flushClock tells when a busy lane passes on its buffers: see step.
type flushClock struct {
	clock   time.Time // the last time read by step
	flushed time.Time
	steps   int // messages handled since the lane waited for input, or messages were slow
	looked  int // value of steps when step last read the clock
	slow    bool
}

// hook is a stage's part in the life of its lane. Any function may be nil.
type hook struct {
	open  func() error     // before the first message
	flush func(block bool) // pass on buffers; if not block, only where that does not block
	end   func() error     // the input has ended: pass on everything left
	drop  func()           // the life ends early: give back buffered and held messages
	close func()           // the life has ended in either way

	settle func() // settle holds that were ended outside their handler's calls; the lane is in no call

	// sweep gives back messages that no handler has begun, because the graph drains. It runs on another
	// goroutine.
	sweep func(*dirtySessions)
}

type alarm struct {
	next func() time.Time
	ring func() error
}

const (
	flushAfter = time.Millisecond
	clockEvery = 64
	slowAfter  = 20 * time.Microsecond // after a slower message, the lane reads the clock after each message
)

func newLane(r *Running) *lane {
	return &lane{run: r, ctx: r.hard, turns: newTurns(), meter: &meter{waiting: true}}
}

// wake puts a token into a channel that holds one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// settleStrays settles holds that were ended outside their handler's calls. The lane is in no call.
func (la *lane) settleStrays() {
	for _, s := range la.stages {
		s.endCall(false)
	}
	for _, h := range la.hooks {
		if h.settle != nil {
			h.settle()
		}
	}
}

// live runs one life: it opens the hooks, calls body, and closes the hooks. However body ends, also
// by a panic, all messages that the lane's stages hold are passed on or given back.
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
		la.dirty.tell()
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
	return la.failure
}

// flush passes on the buffers of the stages, and reports settlements to the sources.
func (la *lane) flush(block bool) {
	if la.nest != nil {
		la.nest.outer.flush(block)
		la.aborted = la.aborted || la.nest.outer.aborted
		return
	}
	la.flushHooks(block)
	la.flushed = time.Now()
	la.clock = la.flushed
	la.account(la.clock)
}

func (la *lane) flushHooks(block bool) {
	for i := len(la.hooks) - 1; i >= 0; i-- {
		if f := la.hooks[i].flush; f != nil {
			f(block)
		}
	}
	la.dirty.tell()
}

// step is called after n messages; see flushing above. After a wait for input, and after slow
// messages, it reads the clock after 1, 2, 4, … 64 messages and then after every 64th. So when
// messages become slow, at most as many wait as have already been handled.
func (la *lane) step(n int) {
	la.steps += n
	if !la.slow && la.untilLook() > 0 {
		return
	}
	now := time.Now()
	took := now.Sub(la.clock) / time.Duration(max(la.steps-la.looked, 1))
	la.slow = took > slowAfter
	la.clock, la.looked = now, la.steps
	la.sample(la.slow || la.sampling && la.steps < sampleSize, now)
	if la.slow {
		la.steps, la.looked = 0, 0
	}
	if now.Sub(la.flushed) >= flushAfter {
		la.poll()
	}
}

// untilLook returns how many messages are handled before step reads the clock again.
func (la *lane) untilLook() int {
	if la.slow {
		return 1
	}
	return la.looked + min(max(la.looked, 1), clockEvery) - la.steps
}

// poll flushes a busy lane, rings due alarms, and checks whether the lane must stop.
func (la *lane) poll() {
	la.flush(false)
	if err := la.ring(); err != nil {
		la.fail(err)
	}
	if la.ctx.Err() != nil {
		la.aborted = true
	}
}

// sleep passes on all other messages and waits for the time to retry a message of st. It reports
// false when the lane is stopped.
func (la *lane) sleep(st *stageRun, d time.Duration) bool {
	la.flush(true)
	return la.pause(st, d)
}

// pause waits like sleep, but passes on nothing.
func (la *lane) pause(st *stageRun, d time.Duration) bool {
	began := st.retrying.begin()
	la.halt(began)
	defer func() { la.except(st.retrying.end(began)) }()
	la.aborted = !passes(la.ctx, d) || la.aborted
	return !la.aborted
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

// receive blocks until in delivers a value (ok) or is closed (!ok), or the lane is stopped (!ok and
// aborted). It also returns if the lane has other work (again): an alarm is due, or holds were
// ended. Before it blocks it flushes the lane.
func receive[V any](la *lane, in <-chan V) (v V, ok, again bool) {
	select {
	case v, ok = <-in:
		return v, ok, false
	default:
	}
	la.settleStrays()
	la.flush(true)
	due, stopped := la.alarmed(), false
	la.rest()
	select {
	case v, ok = <-in:
	case <-due:
		ok, again = true, true
	case <-la.wake:
		ok, again = true, true
	case <-la.ctx.Done():
		stopped = true
	}
	la.resume()
	la.aborted = la.aborted || stopped
	return v, ok, again
}

// ack gives up a share of a message that is done.
func (la *lane) ack(l lease) { l.release(Acked, nil, &la.dirty) }

// nack gives back a share of a message that is not done.
func (la *lane) nack(l lease) { l.release(Nacked, nil, &la.dirty) }

// fail ends the lane's life with an error.
func (la *lane) fail(err error) {
	la.failure = err
	la.aborted = true
}

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
