package flow

import (
	"context"
	"fmt"
	"runtime/debug"
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
	measured atomic.Bool  // busy is valid
	busy     atomic.Int64 // nanoseconds it worked in lanes that have ended, without writes
	writes   waits        // of a sink, for its Writer
	retrying waits        // waits of its goroutines for retries
	tickets  tickets      // see Later
	writing  atomic.Int64 // nanoseconds of the last Write of a sink that writes chunks
}

// stageCounts are the counters of a stage for snapshots.
type stageCounts struct{ in, out, faults, retries, dropped, nacked, dead, restarts atomic.Uint64 }

// fail stops the graph because the stage failed.
func (st *stageRun) fail(err error) {
	st.run.fail(&StageError{Graph: st.run.graph.name, Stage: st.name, Err: err})
}

// close closes a Reader or Writer, if it is a Closer.
func (st *stageRun) close(ctx context.Context, endpoint any) {
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

	// See meter.
	seen   bool          // it has been measured; owned by the lane's goroutine
	busy   time.Duration // working
	weight time.Duration // working, while the lane was sampling

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
// waits, it passes on the messages buffered in neighbouring stages. If ctx is done, it returns
// early with the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	if s := stageOf(ctx); s != nil {
		s.la.flush(true)
	}
	if !passes(ctx, d) {
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
	s.ctx = &stageContext{la.ctx, s}
	la.stages = append(la.stages, s)
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
	if s.timeout > 0 {
		ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
		defer cancel()
		return guard(ctx, f)
	}
	return guard(s.ctx, f)
}

func guard(ctx context.Context, f func(context.Context) error) (err error) {
	defer Catch(&err)
	return f(ctx)
}

// recovered turns a panic's value into an error. Deferred calls pass it the result of recover.
func recovered(v any) error { return &PanicError{Value: v, Stack: debug.Stack()} }

// ending is a hold that the handler has ended: its share, and its fault, or nil for Done.
type ending struct {
	lease lease
	fault *Fault
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
			e.lease.release(max(Nacked, e.fault.outcome()), e.fault, &s.la.dirty)
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
	if e.fault == nil {
		e.lease.release(Acked, nil, dirty)
		return false
	}
	return s.st.giveUp(e.lease, e.fault, dirty)
}

// giveUp settles a share after its handler gave up the message outside a call. A verdict or a
// Permanent error decides; with any other error the entry goes back. It reports whether the graph
// stops because of it.
func (st *stageRun) giveUp(l lease, f *Fault, dirty *dirtySessions) (stopped bool) {
	f.Graph, f.Stage = st.run.graph.name, st.name
	if verdictIs(f.Err, ActDrop) {
		st.dropped.Add(1)
		l.release(Dropped, f, dirty)
		return false
	}
	d, cannot := feasible(decide(Nack, f), f, l)
	if d.Do == ActRetry { // there is no call to repeat
		d = Decision{Do: ActStop}
		cannot = ErrNotRedeliverable
	}
	st.tellFault(f, d)
	return st.carryOut(l, f, d, cannot, dirty)
}

// A handler that always fails is not called repeatedly without a pause, even if the policy demands
// it.
const (
	quickRetries = 10
	retryFloor   = 10 * time.Millisecond
)

// failed handles a fault of one message, except for the wait. It settles the share, unless the
// decision is to retry.
func (s *stageBase) failed(l lease, meta *Meta, err error, tries int) (retry bool, after time.Duration) {
	la := s.la
	if la.ctx.Err() != nil { // the handler failed because of a stop, so this is not a fault of the message
		la.aborted = true
		la.nack(l)
		return false, 0
	}
	if l.isLost() { // likewise, and no retry is needed: another reader handles it
		la.nack(l)
		return false, 0
	}
	f := &Fault{Graph: la.run.graph.name, Stage: s.st.name, Err: err, Tries: tries, Meta: *meta, final: s.final}
	if verdictIs(err, ActDrop) { // Skip is intended, so it is not reported
		s.st.dropped.Add(1)
		l.release(Dropped, f, &la.dirty)
		return false, 0
	}
	d, cannot := feasible(decide(s.st.policy, f), f, l)
	if d.Do == ActRetry && tries >= quickRetries {
		d.After = max(d.After, retryFloor)
	}
	s.st.tellFault(f, d)
	if d.Do == ActRetry {
		s.st.retries.Add(1)
		return true, d.After
	}
	if s.st.carryOut(l, f, d, cannot, &la.dirty) {
		la.aborted = true
	}
	return false, 0
}

// tellFault adds a fault to the counters, calls the hook and logs it.
func (st *stageRun) tellFault(f *Fault, d Decision) {
	st.faults.Add(1)
	if hook := st.run.graph.hooks.Faulted; hook != nil {
		st.run.hook("Faulted", func() { hook(f, d) })
	}
	st.run.logFault(f, d)
}

// carryOut settles a share according to a decision other than to retry. It reports whether the
// graph stops because of it.
func (st *stageRun) carryOut(l lease, f *Fault, d Decision, cannot error, dirty *dirtySessions) (stopped bool) {
	switch d.Do {
	case ActNack:
		st.nacked.Add(1)
		f.After = d.After
		l.release(Nacked, f, dirty)
	case ActDead:
		st.dead.Add(1)
		l.release(Dead, f, dirty)
	case ActDrop:
		st.dropped.Add(1)
		l.release(Dropped, f, dirty)
	default:
		l.release(Failed, f, dirty)
		err := f.Err
		if cannot != nil {
			err = fmt.Errorf("%w: %w", cannot, err)
		}
		st.run.fail(&StageError{Graph: f.Graph, Stage: f.Stage, ID: f.Meta.ID, Err: err})
		return true
	}
	return false
}

// failOutright handles a message that did not reach a handler, so it cannot be retried.
func failOutright[T any](la *lane, st *stageRun, m Message[T], err error) {
	base := &stageBase{la: la, st: st, final: true}
	if again, _ := base.failed(m.lease, m.metaRef(), err, 1); again {
		la.nack(m.lease)
	}
}

// feasible replaces a decision that the entry's source cannot carry out by one that it can.
func feasible(d Decision, f *Fault, l lease) (Decision, error) {
	if d.Do != ActNack && d.Do != ActDead {
		return d, nil
	}
	redelivers, keepsDead := true, true
	l.roots(func(s *session) {
		redelivers = redelivers && s.source.node.Redelivers
		keepsDead = keepsDead && s.source.node.DeadLetters
	})
	switch {
	case d.Do == ActNack && !redelivers:
		if _, asked := Verdict(f.Err); asked {
			return Decision{Do: ActRetry, After: max(d.After, retryFloor)}, nil
		}
		return Decision{Do: ActStop}, ErrNotRedeliverable
	case d.Do == ActDead && !keepsDead:
		return Decision{Do: ActStop}, ErrNotRedeliverable
	}
	return d, nil
}

// retry handles a fault, including the wait, and reports whether to try again.
func (s *stageBase) retry(l lease, meta *Meta, err error, tries int) bool {
	again, after := s.failed(l, meta, err, tries)
	if !again {
		return false
	}
	if s.la.park != nil {
		s.la.park(after, tries)
		return false
	}
	if !s.la.sleep(s.st, after) || l.isLost() {
		s.la.nack(l)
		return false
	}
	return true
}

// renewFor makes a new handler while a message is being handled. If that panics the region fails,
// and the message is given back like all others.
func (s *stageBase) renewFor(l lease, renew func()) {
	defer func() {
		if v := recover(); v != nil {
			s.la.nack(l)
			panic(v)
		}
	}()
	renew()
}
