package flow

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cenkalti/backoff/v5"
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

// A Policy decides on a fault. It is set for a stage (OnFault) or for a graph (Faults). It is not
// asked about verdicts (Skip, RetryAfter, Reject), which are decisions themselves, or about
// Permanent errors, which stop the graph. It must be quick and safe for concurrent use.
type Policy func(*Fault) Decision

// Decision is the action for a fault.
type Decision struct {
	Do    Action
	After time.Duration // the delay before a retry, or before the source delivers again
}

// Action is a kind of decision.
type Action uint8

const (
	// ActRetry calls the handler again with the same message, in place, after the delay. From the
	// tenth try on, the delay is at least 10ms.
	ActRetry Action = iota
	// ActNack gives the entry back to its source, which delivers it again after the delay.
	ActNack
	// ActDead gives the entry to its source's dead letters.
	ActDead
	// ActDrop gives up the message. This stage regards its entry as done.
	ActDrop
	// ActStop stops the graph with a *StageError.
	ActStop
)

// String returns the action's name in lower case.
func (a Action) String() string {
	return [...]string{"retry", "nack", "dead letter", "drop", "stop"}[a]
}

// Retry tries a message up to tries times more, in place. It waits base, 2·base, 4·base, … between
// the tries, each with ±50 % jitter and at most a minute. After the last try it leaves the fault to
// the policy then, which defaults to Nack. While a message waits, the messages behind it in its
// lane wait too. With KeyedBy only messages of the same key wait.
func Retry(tries int, base time.Duration, then Policy) Policy {
	return retry(tries, func(n int) time.Duration { return exponential(base, n) }, then)
}

func retry(tries int, wait func(n int) time.Duration, then Policy) Policy {
	if then == nil {
		then = Nack
	}
	return func(f *Fault) Decision {
		if f.final || f.Tries > tries {
			return then(f)
		}
		return Decision{Do: ActRetry, After: wait(f.Tries)}
	}
}

// RetryEvery is Retry with a constant wait between the tries.
func RetryEvery(tries int, wait time.Duration, then Policy) Policy {
	return retry(tries, func(int) time.Duration { return wait }, then)
}

// HoldKey is the policy for a strict order. It retries a message in place, up to tries times more;
// with zero or less, until the message succeeds. After that the message is dead. The waits are
// those of Retry and start at base, which defaults to 50ms. The message is not given back between
// the tries, so no message behind it overtakes it.
//
// With Workers and KeyedBy the messages of the same key wait behind it, as many as the sources have
// credits for. Other keys continue. Otherwise all messages in its lane wait. So if tries is zero,
// one message that always fails blocks its key forever.
//
// To keep the order of a key from the source to the sink, each stage between them needs this
// policy: pass it to Faults. Some events still break the order, because they give an entry back
// while those behind it continue: a handler that returns RetryAfter, a restart of a stage, a lost
// lease. In a sink that writes chunks of several messages, failed messages come after the rest of
// their chunk: use ChunkSize(1). At the end of a drain, a message that has not succeeded is given
// back together with all messages that wait behind it, and another process may read them in any
// order.
func HoldKey(tries int, base time.Duration) Policy {
	if base <= 0 {
		base = 50 * time.Millisecond
	}
	if tries <= 0 {
		tries = math.MaxInt
	}
	return Retry(tries, base, DeadLetter)
}

// Nack gives the entry back to its source at once. The source delivers it again, and moves it to
// its dead letters after its configured number of deliveries. If the source cannot deliver again,
// the graph stops (ErrNotRedeliverable).
func Nack(*Fault) Decision { return Decision{Do: ActNack} }

// NackAfter is Nack with a delay.
func NackAfter(d time.Duration) Policy {
	return func(*Fault) Decision { return Decision{Do: ActNack, After: d} }
}

// NackBackoff is Nack with a delay that grows with the number of deliveries: base, 2·base, 4·base,
// … each with ±50 % jitter and at most a minute.
func NackBackoff(base time.Duration) Policy {
	return func(f *Fault) Decision {
		return Decision{Do: ActNack, After: exponential(base, max(f.Meta.Attempt, 1))}
	}
}

// DeadLetter gives the entry to its source's dead letters at once.
func DeadLetter(*Fault) Decision { return Decision{Do: ActDead} }

// Drop gives up the message and counts it as dropped.
func Drop(*Fault) Decision { return Decision{Do: ActDrop} }

// Stop stops the graph with a *StageError. The entry goes back to its source.
func Stop(*Fault) Decision { return Decision{Do: ActStop} }

// DefaultPolicy is the policy of graphs that set none: three retries in place, starting at 50 ms,
// then NackBackoff, starting at one second. So an entry survives if its handler fails because a
// dependency is down for some minutes.
var DefaultPolicy = Retry(3, 50*time.Millisecond, NackBackoff(time.Second))

// exponential returns the wait before the n-th retry (n from 1): base·2^(n-1) with ±50 % jitter, at
// most a minute.
func exponential(base time.Duration, n int) time.Duration {
	if base <= 0 {
		return 0
	}
	b := backoff.ExponentialBackOff{
		InitialInterval: base, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: time.Minute,
	}
	b.Reset()
	d := b.NextBackOff()
	for ; n > 1 && n < 64; n-- {
		d = b.NextBackOff()
	}
	return min(d, time.Minute)
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
