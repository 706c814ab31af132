package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Fault is a failed message: the handler of a stage returned an error for it or panicked.
type Fault struct {
	Graph string
	Stage string
	Err   error         // *PanicError for a panic
	Tries int           // number of tries of the stage in this delivery, including this one
	Meta  Meta          // of the message
	After time.Duration // of a nack: the delay before the source delivers again

	undecodable bool // the source could not decode the entry

	final bool // a retry is impossible, because the message did not reach a handler
}

func (f *Fault) Error() string {
	id := ""
	if f.Meta.ID != "" {
		id = " message " + f.Meta.ID + ":"
	}
	return fmt.Sprintf("flow: graph %q: stage %q:%s %v", f.Graph, f.Stage, id, f.Err)
}

// Unwrap returns the handler's error.
func (f *Fault) Unwrap() error { return f.Err }

// outcome returns the outcome of a message that its handler gave up with this fault, as far as the
// error decides it. It is Acked for nil.
func (f *Fault) outcome() Outcome {
	if f == nil {
		return Acked
	}
	return decide(Nack, f).outcome()
}

// outcome returns the outcome of a message that is not retried.
func (d Decision) outcome() Outcome {
	return [...]Outcome{ActRetry: Failed, ActNack: Nacked, ActDead: Dead, ActDrop: Dropped, ActStop: Failed}[d.Do]
}

// verdict is an error with which a handler decides on its message itself.
type verdict struct {
	do    Action
	after time.Duration
	err   error
}

func (v *verdict) Error() string {
	switch v.do {
	case ActDrop:
		return "skip"
	case ActDead:
		return "rejected: " + v.err.Error()
	default:
		return fmt.Sprintf("retry after %v: %v", v.after, v.err)
	}
}

func (v *verdict) Unwrap() error { return v.err }

// Skip is the verdict that drops the message: its entry is done and counted as dropped. It is not a
// fault.
var Skip error = &verdict{do: ActDrop}

// RetryAfter is the verdict that has the message delivered again after d. The entry goes back to
// its source, and no other message waits for it. If the source cannot deliver again, the stage
// waits and retries in place, after at least 10ms.
//
// With a Redis stream, a delay longer than the lease is kept in this process, which renews the
// lease. If the process dies, the entry is delivered at most one lease later. For a delay that must
// survive, write the message with the sink's At.
func RetryAfter(d time.Duration, err error) error {
	return &verdict{do: ActNack, after: d, err: orUnspecified(err)}
}

// Reject is the verdict that moves the message to the dead letters at once. Use it for a message
// that can never succeed. If the source has no dead letters, the graph stops.
func Reject(err error) error { return &verdict{do: ActDead, err: orUnspecified(err)} }

func orUnspecified(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}

// Verdict reports whether an error is, or wraps, a verdict (Skip, RetryAfter, Reject), and returns
// its decision, or else the zero Decision. Operators that turn errors into values use it to let
// verdicts pass.
func Verdict(err error) (Decision, bool) {
	if v := verdictOf(err); v != nil {
		return Decision{Do: v.do, After: v.after}, true
	}
	return Decision{}, false
}

// verdictOf returns the verdict that an error is or wraps. It ignores the errors in a WriteError,
// because each of them is about one message only.
func verdictOf(err error) *verdict {
	switch e := err.(type) {
	case *verdict:
		return e
	case *WriteError:
		return nil
	case interface{ Unwrap() error }:
		return verdictOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if v := verdictOf(one); v != nil {
				return v
			}
		}
	}
	return nil
}

// verdictIs reports whether an error is the verdict with action a.
func verdictIs(err error, a Action) bool {
	v := verdictOf(err)
	return v != nil && v.do == a
}

// decide returns the decision of the verdict if the error is one, else that of the policy. A
// permanent error stops the graph. If the policy panics, the entry is given back.
func decide(p Policy, f *Fault) (d Decision) {
	if d, ok := Verdict(f.Err); ok {
		return d
	}
	if IsPermanent(f.Err) {
		return Decision{Do: ActStop}
	}
	defer func() {
		if v := recover(); v != nil {
			f.Err = errors.Join(f.Err, fmt.Errorf("flow: the fault policy failed: %w", recovered(v)))
			d = Decision{Do: ActNack}
		}
	}()
	return p(f)
}

// giveUp settles a share after its handler gave up the message outside a call. A verdict or a
// Permanent error decides; with any other error the entry goes back. It reports whether the graph
// stops because of it.
func (st *stageRun) giveUp(l lease, f *Fault, dirty *dirtySessions) (stopped bool) {
	f.Graph, f.Stage = st.run.graph.name, st.name
	if verdictIs(f.Err, ActDrop) {
		st.ended[Dropped].Add(1)
		l.release(Dropped, f, dirty)
		return false
	}
	d, cannot := feasible(decide(Nack, f), f, l)
	if d.Do == ActRetry { // there is no call to repeat
		d = Decision{Do: ActStop}
		cannot = ErrNotRedeliverable
	}
	st.tellFault(l, f, d)
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
func (s *stageBase) failed(l lease, meta *record, err error, tries int) (retry bool, after time.Duration) {
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
	if err == errRefused {
		s.refuse(l, Acked)
		return false, 0
	}
	f := &Fault{Graph: la.run.graph.name, Stage: s.st.name, Err: err, Tries: tries, Meta: meta.meta(), final: s.final,
		undecodable: s.st.node.kind == kindSource}
	if verdictIs(err, ActDrop) { // Skip is intended, so it is not reported
		s.st.ended[Dropped].Add(1)
		l.release(Dropped, f, &la.dirty)
		return false, 0
	}
	d, cannot := feasible(decide(s.st.policy, f), f, l)
	if d.Do == ActRetry && tries >= quickRetries {
		d.After = max(d.After, retryFloor)
	}
	s.st.tellFault(l, f, d)
	if d.Do == ActRetry {
		s.st.retries.Add(1)
		return true, d.After
	}
	if s.st.carryOut(l, f, d, cannot, &la.dirty) {
		la.aborted = true
	}
	return false, 0
}

// tellFault adds a fault to the counters, the recent events and the message's span, calls the hook and
// logs it.
func (st *stageRun) tellFault(l lease, f *Fault, d Decision) {
	st.countFault(f)
	l.noteFault(f, d)
	st.run.recent.faulted(f, d)
	if st.run.tracer != nil {
		if span := l.span(); span != nil {
			span.Fault(f, d)
		}
	}
	if hook := st.run.graph.hooks.Faulted; hook != nil {
		st.run.hook("Faulted", func() { hook(f, d) })
	}
	st.run.logFault(f, d)
}

// carryOut settles a share according to a decision other than to retry. It reports whether the
// graph stops because of it.
func (st *stageRun) carryOut(l lease, f *Fault, d Decision, cannot error, dirty *dirtySessions) (stopped bool) {
	o := d.outcome()
	if o == Nacked {
		f.After = d.After
	}
	st.ended[o].Add(1)
	l.release(o, f, dirty)
	if o != Failed {
		return false
	}
	err := f.Err
	if cannot != nil {
		err = fmt.Errorf("%w: %w", cannot, err)
	}
	st.run.fail(&StageError{Graph: f.Graph, Stage: f.Stage, ID: f.Meta.ID, Err: err})
	return true
}

// failOutright handles a message that did not reach a handler, so it cannot be retried.
func failOutright[T any](la *lane, st *stageRun, m Message[T], err error) {
	base := &stageBase{la: la, st: st, final: true}
	if again, _ := base.failed(m.lease, m.meta, err, 1); again {
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
func (s *stageBase) retry(l lease, meta *record, err error, tries int) bool {
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

// Failure is a failed message as a value: Try's second output carries it, and streams of failures
// consist of it. It has a JSON form.
type Failure[T any] struct {
	Value   T         `json:"value"`
	Error   string    `json:"error"`
	Stage   string    `json:"stage"`
	ID      string    `json:"id,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	Time    time.Time `json:"time"`

	err error
}

// NewFailure returns the failure of a message at a stage.
func NewFailure[T any](stage string, m Message[T], err error) Failure[T] {
	return Failure[T]{
		Value: m.Value, Error: err.Error(), Stage: stage, ID: m.ID(), Attempt: m.Attempt(), Time: time.Now(), err: err,
	}
}

// Err returns the original error. After a round trip through JSON it returns an error with the same
// text.
func (f Failure[T]) Err() error {
	if f.err == nil && f.Error != "" {
		return errors.New(f.Error)
	}
	return f.err
}

// FaultKind is a kind of Fault. There are few, so it may be a label of a metric.
type FaultKind string

const (
	// FaultError is an error of a handler or a sink of no other kind.
	FaultError FaultKind = "error"
	// FaultPanic is a panic of a handler.
	FaultPanic FaultKind = "panic"
	// FaultTimeout is an error that wraps context.DeadlineExceeded.
	FaultTimeout FaultKind = "timeout"
	// FaultRejected is the verdict Reject.
	FaultRejected FaultKind = "rejected"
	// FaultPostponed is the verdict RetryAfter.
	FaultPostponed FaultKind = "postponed"
	// FaultPermanent is an error that was marked Permanent.
	FaultPermanent FaultKind = "permanent"
	// FaultUndecodable is an entry that its source could not decode.
	FaultUndecodable FaultKind = "undecodable"
)

// faultKinds has each kind.
var faultKinds = [...]FaultKind{
	FaultError, FaultPanic, FaultTimeout, FaultRejected, FaultPostponed, FaultPermanent, FaultUndecodable,
}

// Kind returns the kind of the fault.
func (f *Fault) Kind() FaultKind {
	panicked := (*PanicError)(nil)
	switch v := verdictOf(f.Err); {
	case f.undecodable:
		return FaultUndecodable
	case v != nil && v.do == ActDead:
		return FaultRejected
	case v != nil && v.do == ActNack:
		return FaultPostponed
	case errors.As(f.Err, &panicked):
		return FaultPanic
	case IsPermanent(f.Err):
		return FaultPermanent
	case errors.Is(f.Err, context.DeadlineExceeded):
		return FaultTimeout
	}
	return FaultError
}

// countFault adds a fault to the counters.
func (st *stageRun) countFault(f *Fault) { st.faults[slices.Index(faultKinds[:], f.Kind())].Add(1) }

// faultCounts returns the number of faults, and those of each kind that has occurred. It is nil
// without faults.
func (st *stageRun) faultCounts() (all uint64, of map[FaultKind]uint64) {
	for i, kind := range faultKinds {
		if n := st.faults[i].Load(); n > 0 {
			if of == nil {
				of = make(map[FaultKind]uint64)
			}
			all, of[kind] = all+n, n
		}
	}
	return all, of
}
