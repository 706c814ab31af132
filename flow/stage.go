package flow

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// stageRun is what all lives and workers of a stage share during a run.
type stageRun struct {
	node     *node
	name     string
	policy   Policy
	in       atomic.Uint64
	out      atomic.Uint64
	faults   atomic.Uint64
	retries  atomic.Uint64
	dropped  atomic.Uint64
	nacked   atomic.Uint64
	dead     atomic.Uint64
	restarts atomic.Uint64
	busy     atomic.Int64 // nanoseconds of its workers or writes, where measured
}

// stageBase is what one life of any stage needs: its lane, its counters, the shares its handler holds, and the way its
// faults go.
type stageBase struct {
	la      *lane
	st      *stageRun
	ctx     context.Context
	timeout time.Duration // of each call; 0: none
	in, out uint64        // since the last count

	holds  []*hold
	spare  []*hold  // records to use again
	joined []lease  // joins made in the current call
	ended  []ending // holds ended in the current call
}

// stageContext is the context handlers get: it knows the stage, so that Hold and Join do.
type stageContext struct {
	context.Context
	stage *stageBase
}

type stageKey struct{}

// Value returns the stage for stageKey, and else the parent's value.
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

// StageName returns the name of the stage whose handler was given ctx; "" outside a running graph.
func StageName(ctx context.Context) string {
	if s := stageOf(ctx); s != nil {
		return s.st.name
	}
	return ""
}

// Sleep waits on behalf of the message at hand, for handlers that pace: before it waits, what the stages around have
// buffered goes on. It returns early, with the context's cause, when ctx is done.
func Sleep(ctx context.Context, d time.Duration) error {
	if s := stageOf(ctx); s != nil {
		s.la.flush(true)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *stageBase) init(la *lane, st *stageRun) {
	s.la, s.st, s.timeout = la, st, st.node.timeout
	s.ctx = &stageContext{la.ctx, s}
	la.stages = append(la.stages, s)
}

// count moves the counters to where snapshots see them; part of each flush.
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

// guard makes one call of user code, with the stage's context and timeout, and turns a panic into an error.
func (s *stageBase) guard(f func(context.Context) error) (err error) {
	if s.timeout > 0 {
		ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
		defer cancel()
		return guard(ctx, f)
	}
	return guard(s.ctx, f)
}

func guard(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	return f(ctx)
}

// recovered turns a panic's value into an error; deferred calls hand it what recover returned.
func recovered(v any) error { return &PanicError{Value: v, Stack: debug.Stack()} }

func (s *stageBase) hold(l lease) *hold {
	var h *hold
	if n := len(s.spare); n > 0 {
		h, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		h = &hold{stage: s}
	}
	h.lease, h.at = l, len(s.holds)
	s.holds = append(s.holds, h)
	return h
}

func (s *stageBase) unhold(h *hold) {
	last := len(s.holds) - 1
	s.holds[h.at] = s.holds[last]
	s.holds[h.at].at = h.at
	s.holds[last] = nil
	s.holds = s.holds[:last]
	h.lease = lease{}
	h.life++
	s.spare = append(s.spare, h)
}

// dropHolds gives back all that the handler holds: its life is over. f, if there is one, says whose mistake that is.
func (s *stageBase) dropHolds(f *Fault) {
	for len(s.holds) > 0 {
		h := s.holds[len(s.holds)-1]
		l := h.lease
		s.unhold(h)
		l.release(Nacked, f, &s.la.news)
	}
}

// endHolds gives back what a handler has forgotten: its input has ended, and nobody will come back for it.
func (s *stageBase) endHolds() {
	if len(s.holds) > 0 {
		s.dropHolds(&Fault{Graph: s.la.run.graph.name, Stage: s.st.name, Err: errLeftHeld, Tries: 1})
	}
}

// ending is a hold that the handler has ended: its share, and how.
type ending struct {
	lease lease
	o     Outcome
	fault *Fault
}

// endCall releases what the call that is over has left: the handler's own shares of the joins it made, and those of the
// holds it ended. If the call has failed nothing of it counts as done, also what was done before the failure.
func (s *stageBase) endCall(failed bool) {
	o := Acked
	if failed {
		o = Nacked
	}
	for _, l := range s.joined {
		l.release(o, nil, &s.la.news)
	}
	for _, e := range s.ended {
		e.lease.release(max(o, e.o), e.fault, &s.la.news)
	}
	s.joined, s.ended = s.joined[:0], s.ended[:0]
}

// failed deals with a fault of one message up to the wait: it settles the share, unless the decision is to retry.
func (s *stageBase) failed(l lease, meta *Meta, err error, tries int) (retry bool, after time.Duration) {
	la := s.la
	if la.ctx.Err() != nil { // the handler failed because it was told to stop: not its message's fault
		la.aborted = true
		l.release(Nacked, nil, &la.news)
		return false, 0
	}
	if l.isLost() { // likewise, and nobody has to try again: somebody else is at it
		l.release(Nacked, nil, &la.news)
		return false, 0
	}
	f := &Fault{Graph: la.run.graph.name, Stage: s.st.name, Err: err, Tries: tries, Meta: *meta}
	if errors.Is(err, Skip) { // wanted, and nobody need hear of it
		s.st.dropped.Add(1)
		l.release(Dropped, f, &la.news)
		return false, 0
	}
	d, cannot := possible(decide(s.st.policy, f), f, l)
	s.st.faults.Add(1)
	if hook := la.run.graph.hooks.Faulted; hook != nil {
		la.run.hook("Faulted", func() { hook(f, d) })
	}
	la.run.logFault(f, d)
	switch d.Do {
	case ActRetry:
		s.st.retries.Add(1)
		return true, d.After
	case ActNack:
		s.st.nacked.Add(1)
		f.After = d.After
		l.release(Nacked, f, &la.news)
	case ActDead:
		s.st.dead.Add(1)
		l.release(Dead, f, &la.news)
	case ActDrop:
		s.st.dropped.Add(1)
		l.release(Dropped, f, &la.news)
	default:
		l.release(Failed, f, &la.news)
		la.aborted = true
		if err = f.Err; cannot != nil {
			err = fmt.Errorf("%w: %w", cannot, err)
		}
		la.run.fail(&StageError{Graph: f.Graph, Stage: f.Stage, ID: meta.ID, Err: err})
	}
	return false, 0
}

// failOutright deals with a message that never got as far as a handler: there is nothing to try again.
func failOutright[T any](la *lane, st *stageRun, m Message[T], err error) {
	base := &stageBase{la: la, st: st}
	if again, _ := base.failed(m.lease, m.metaRef(), err, pastRetries); again {
		m.lease.release(Nacked, nil, &la.news)
	}
}

// pastRetries is a number of tries that every Retry policy considers enough.
const pastRetries = 1 << 20

// possible turns a decision that the entry's source cannot carry out into one that can be.
func possible(d Decision, f *Fault, l lease) (Decision, error) {
	if d.Do != ActNack && d.Do != ActDead {
		return d, nil
	}
	redelivers, keepsDead := true, true
	l.roots(func(s *session) {
		redelivers = redelivers && s.source.node.redelivers
		keepsDead = keepsDead && s.source.node.deadLetters
	})
	switch {
	case d.Do == ActNack && !redelivers:
		if _, asked := Verdict(f.Err); asked {
			return Decision{Do: ActRetry, After: d.After}, nil
		}
		return Decision{Do: ActStop}, ErrNotRedeliverable
	case d.Do == ActDead && !keepsDead:
		return Decision{Do: ActStop}, ErrNotRedeliverable
	}
	return d, nil
}

// retry deals with a fault, waiting included, and says whether to try again.
func (s *stageBase) retry(l lease, meta *Meta, err error, tries int) bool {
	again, after := s.failed(l, meta, err, tries)
	if !again {
		return false
	}
	if s.la.park != nil {
		s.la.park(after, tries)
		return false
	}
	if !s.la.sleep(after) || l.isLost() {
		l.release(Nacked, nil, &s.la.news)
		return false
	}
	return true
}

// renewFor makes a handler afresh while a message is at hand. If that panics the region fails, and the message goes back
// like all others.
func (s *stageBase) renewFor(l lease, renew func()) {
	defer func() {
		if v := recover(); v != nil {
			l.release(Nacked, nil, &s.la.news)
			panic(v)
		}
	}()
	renew()
}
