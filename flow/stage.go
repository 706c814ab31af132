package flow

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// stageRun is the state that all lives and workers of a stage share during a run.
type stageRun struct {
	run    *Running
	node   *node
	name   string
	policy Policy
	stageCounts
	extra    counters        // of its Readers and Writers
	measured atomic.Bool     // busy is valid
	busy     atomic.Int64    // nanoseconds it worked in lanes that have ended, without writes
	writes   waits           // of a sink, for its Writer
	retrying waits           // waits of its goroutines for retries
	tickets  tickets         // see Later
	over     context.Context // of a Tap: done some time after the end of its input
	writing  atomic.Int64    // nanoseconds of the last Write of a sink that writes chunks
	finished atomic.Bool     // see Finish
	begun    []atomic.Bool   // by input: it was picked; nil if its sources need not wait for that
}

// stageCounts are the counters of a stage for snapshots.
type stageCounts struct {
	in, out, retries, restarts atomic.Uint64
	faults                     [len(faultKinds)]atomic.Uint64

	ended [len(outcomeNames)]atomic.Uint64 // messages that the stage has given up
}

// fail stops the graph because the stage failed.
func (st *stageRun) fail(err error) {
	st.run.fail(&StageError{Graph: st.run.graph.name, Stage: st.name, Err: err})
}

// close closes a Reader or Writer, if it is a Closer.
func (st *stageRun) close(ctx context.Context, endpoint any) {
	defer st.extra.end(endpoint)
	c, ok := endpoint.(Closer)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), st.run.graph.ackTimeout)
	defer cancel()
	if err := guard(ctx, c.Close); err != nil {
		st.run.log.Warn("closing the "+st.node.kind.String()+" failed", "stage", st.name, "error", err)
	}
}

// stageBase is the common part of one life of any stage: its lane, its counters, its handler's
// holds, and the handling of its faults.
type stageBase struct {
	la      *lane
	st      *stageRun
	ctx     context.Context
	timeout time.Duration // of each call; 0: no limit
	in, out uint64        // since the last count
	final   bool          // its faults cannot be retried
	renew   func()        // makes a new handler
	current currentWork
	passOn  func() // passes on what a call without a message has emitted; nil in other calls

	// See meter.
	seen   bool          // it has been measured; owned by the lane's goroutine
	busy   time.Duration // working
	weight time.Duration // working, while the lane was sampling

	gauge *stageBase // of a nested stage: where its work is measured, for all keys; nil: here

	traced traced

	racing sync.WaitGroup // calls of a Race

	holding
}

// stageContext is the context of handlers. Hold and Join find the stage in it.
type stageContext struct {
	context.Context
	stage *stageBase
}

type stageKey struct{}

// Value returns the stage for stageKey, else the parent's value.
func (c *stageContext) Value(key any) any {
	if _, ok := key.(stageKey); ok {
		return c.stage
	}
	return c.Context.Value(key)
}

func stageOf(ctx context.Context) *stageBase {
	if c, ok := ctx.(*stageContext); ok {
		return c.stage
	}
	s, _ := ctx.Value(stageKey{}).(*stageBase)
	return s
}

// StageName returns the name of the stage that called its handler with ctx; "" outside a running
// graph.
func StageName(ctx context.Context) string {
	if s := stageOf(ctx); s != nil {
		return s.st.name
	}
	return ""
}

// Sleep waits on behalf of the current message, for handlers that limit their rate. Before it
// waits, it passes on the messages buffered in neighbouring stages, and those that an End or a Ring
// has emitted; the holds that the call has ended are done. If ctx is done, it returns early with the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	if s := stageOf(ctx); s != nil {
		if s.passOn != nil {
			s.passOn()
		}
		if !s.la.beside() {
			s.la.flush(true)
		}
	}
	if !passes(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
}

// Backoff is Sleep before a message is tried again, for wraps (see Around) and handlers that wait for a
// service to recover. It returns early, without an error, when the graph begins to drain. Snapshots
// report the time as Retrying, and not as Busy.
func Backoff(ctx context.Context, d time.Duration) error {
	s := stageOf(ctx)
	if s == nil || s.la.beside() {
		return Sleep(ctx, d)
	}
	if err := Sleep(ctx, 0); err != nil {
		return err
	}
	began, writes := s.st.retrying.begin(), s.la.writes()
	if !writes {
		s.la.halt(began)
	}
	defer func() {
		if took := s.st.retrying.end(began); !writes {
			s.la.except(took)
		}
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.la.run.reading.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// passes waits for d, and reports false if ctx is done first.
func passes(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *stageBase) init(la *lane, st *stageRun) {
	s.la, s.st, s.timeout = la, st, st.node.timeout
	if d := st.node.MaxBlocked; d > 0 {
		la.maxBlocked, la.impatient = d, st
	}
	s.ctx = &stageContext{la.ctx, s}
	if la.nest != nil {
		s.gauge = la.nest.outer.gaugeOf(st)
	}
	la.stages = append(la.stages, s)
	s.trace()
}

// hook makes the stage a part of its lane's life. end is called at the end of the input; nil for
// nothing.
func (s *stageBase) hook(end func() error) {
	s.la.hooks = append(s.la.hooks, hook{
		open:  func() error { s.renew(); return nil },
		flush: func(bool) { s.count() },
		end: func() error {
			if end != nil {
				if err := end(); err != nil {
					return err
				}
			}
			s.endHolds()
			s.count()
			return nil
		},
		drop: func() {
			s.noHolds()
			s.count()
		},
		close: s.racing.Wait, // its contexts are done
	})
}

// count adds the counters to those that snapshots read. Each flush calls it.
func (s *stageBase) count() {
	if s.in != 0 {
		s.st.in.Add(s.in)
		s.in = 0
	}
	if s.out != 0 {
		s.st.out.Add(s.out)
		s.out = 0
	}
}

// guard calls user code with the stage's context and timeout, and turns a panic into an error.
func (s *stageBase) guard(f func(context.Context) error) (err error) {
	if s.traced.span != nil || s.traced.links != nil {
		return s.guardTraced(f)
	}
	return s.guardIn(s.ctx, f)
}

func (s *stageBase) guardIn(ctx context.Context, f func(context.Context) error) (err error) {
	if s.timeout > 0 {
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		return guard(ctx, f)
	}
	return guard(ctx, f)
}

func guard(ctx context.Context, f func(context.Context) error) (err error) {
	defer Catch(&err)
	return f(ctx)
}

// recovered turns a panic's value into an error. Deferred calls pass it the result of recover.
func recovered(v any) error { return &PanicError{Value: v, Stack: debug.Stack()} }

// ending is a hold that the handler has ended: its share, and its fault, or nil for Done and for
// GiveBack.
type ending struct {
	lease lease
	fault *Fault
	back  bool // it is given back
}

func (e ending) outcome() Outcome {
	if e.back {
		return Nacked
	}
	return e.fault.outcome()
}

// endCall releases the leftovers of the last call: the handler's own shares of the joins it made,
// and the shares of the holds it ended. If the call failed, none of them is regarded as done,
// including those from before the failure.
func (s *stageBase) endCall(failed bool) {
	if !s.touched.Load() {
		return
	}
	s.holdMu.Lock()
	joined, ended := s.joined, s.ended
	s.joined, s.ended = s.wasJoined[:0], s.wasEnded[:0]
	s.touched.Store(false)
	s.holdMu.Unlock()
	o := Acked
	if failed {
		o = Nacked
	}
	for _, l := range joined {
		l.release(o, nil, &s.la.dirty)
	}
	for _, e := range ended {
		if failed {
			e.lease.release(max(Nacked, e.outcome()), e.fault, &s.la.dirty)
		} else if s.endNow(e, &s.la.dirty) {
			s.la.aborted = true
		}
	}
	clear(joined)
	clear(ended)
	s.wasJoined, s.wasEnded = joined, ended
}

// endNow settles a hold's share. It reports whether the graph stops because of it.
func (s *stageBase) endNow(e ending, dirty *dirtySessions) (stopped bool) {
	switch {
	case e.back:
		e.lease.giveBack(dirty)
		return false
	case e.fault == nil:
		e.lease.release(Acked, nil, dirty)
		return false
	}
	return s.st.giveUp(e.lease, e.fault, dirty)
}

// renewFor makes a new handler while a message is being handled. If that panics, the region fails,
// the message is given back, and renewFor reports false.
func (s *stageBase) renewFor(l lease) bool {
	err := guard(s.ctx, func(context.Context) error { s.renew(); return nil })
	if err != nil {
		s.la.nack(l)
		s.la.fail(err)
	}
	return err == nil
}

// stepped accounts for a message that became at most one: it settles the share of in, unless the
// message that goes on takes it over, and returns the lease of that.
func (s *stageBase) stepped(in, out lease, goesOn bool) lease {
	same := out.same(in) // else it was joined, or held and is now passed on
	switch {
	case goesOn && !same && !out.none() && out.share(1):
		s.la.ack(in)
	case !goesOn:
		s.la.ack(in)
	case !same:
		out = in // the message was not derived
	}
	if s.touched.Load() {
		s.endCall(false)
	}
	return out
}
