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
	switch v := verdictOf(f.Err); {
	case IsPermanent(f.Err):
		return Failed
	case v == nil || v.do == ActNack:
		return Nacked
	case v.do == ActDead:
		return Dead
	default:
		return Dropped
	}
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
