package flow

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Fault is a message that a stage failed on: its handler returned an error or panicked.
type Fault struct {
	Graph string
	Stage string
	Err   error         // *PanicError for a panic
	Tries int           // how often the stage has tried in this delivery, this try included
	Meta  Meta          // of the message
	After time.Duration // of a nack: how long the source shall wait before it delivers again

	final bool // there is nothing to try again: the message has not got as far as a handler
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

// outcome is how a message ends that its handler has given up with this fault, if the error decides: Acked for nil.
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

// Policy decides about a fault. It is set for a stage (OnFault) or for a graph (Faults), and is not
// asked about verdicts (Skip, RetryAfter, Reject), which decide themselves, nor about Permanent
// errors, which stop the graph. It must be quick and safe for concurrent use.
type Policy func(*Fault) Decision

// Decision is what to do about a fault.
type Decision struct {
	Do    Action
	After time.Duration // to wait before a retry, or before the source delivers again
}

// Action is a kind of decision.
type Action uint8

const (
	// ActRetry calls the handler again with the same message, in place, after the wait. From the
	// tenth try on, the wait is at least 10ms.
	ActRetry Action = iota
	// ActNack gives the entry back to its source, which delivers it again after the wait.
	ActNack
	// ActDead gives the entry to its source's dead letters.
	ActDead
	// ActDrop gives up the message: as far as this stage is concerned its entry is done.
	ActDrop
	// ActStop stops the graph with a *StageError.
	ActStop
)

// String names the action.
func (a Action) String() string {
	return [...]string{"retry", "nack", "dead letter", "drop", "stop"}[a]
}

// Retry tries a message up to tries times more, in place, waiting base, 2·base, 4·base, … in between, each with ±50 %
// jitter and none longer than a minute. Then it leaves the fault to the next policy. While a
// message waits, the messages behind it in its lane wait too; with KeyedBy only those of its key
// do.
func Retry(tries int, base time.Duration, then Policy) Policy {
	if then == nil {
		then = Nack
	}
	return func(f *Fault) Decision {
		if f.final || f.Tries > tries {
			return then(f)
		}
		return Decision{Do: ActRetry, After: exponential(base, f.Tries)}
	}
}

// RetryEvery is Retry with a constant wait between the tries.
func RetryEvery(tries int, wait time.Duration, then Policy) Policy {
	if then == nil {
		then = Nack
	}
	return func(f *Fault) Decision {
		if f.final || f.Tries > tries {
			return then(f)
		}
		return Decision{Do: ActRetry, After: wait}
	}
}

// HoldKey is the policy for an order that must not break: it retries in place, up to tries times more or, with zero or
// less, until the message succeeds. Then the message is dead. It waits as Retry does, from base on,
// by default 50ms. The message is not given back in between, so no message behind it overtakes it.
//
// With Workers and KeyedBy the messages of its key wait behind it, as many as the sources have credits for, and the
// other keys go on. Elsewhere all messages in its lane wait. So one message that always fails keeps its key
// from going on for ever if tries is zero.
//
// For the order of a key to hold from the source to the sink, each stage between them needs this policy: give it to
// Faults. Some things still break the order, because they give an entry back while those behind it
// go on: a handler that returns RetryAfter, a stage that is restarted, a lease that is lost. In a
// sink that writes chunks of several messages those that fail come behind the rest of their chunk:
// give it ChunkSize(1). At the end of a drain, what has not succeeded goes back together with all
// that waits behind it, and another process may read it in any order.
func HoldKey(tries int, base time.Duration) Policy {
	if base <= 0 {
		base = 50 * time.Millisecond
	}
	return func(f *Fault) Decision {
		if f.final || tries > 0 && f.Tries > tries {
			return Decision{Do: ActDead}
		}
		return Decision{Do: ActRetry, After: exponential(base, f.Tries)}
	}
}

// Nack gives the entry back to its source at once; the source delivers it again, and to its dead letters after as many
// deliveries as it is configured for. Where the source cannot do that the graph stops (ErrNotRedeliverable).
func Nack(*Fault) Decision { return Decision{Do: ActNack} }

// NackAfter is Nack with a delay.
func NackAfter(d time.Duration) Policy {
	return func(*Fault) Decision { return Decision{Do: ActNack, After: d} }
}

// NackBackoff is Nack with a delay that grows with the deliveries: base, 2·base, 4·base, … each
// with ±50 % jitter and none longer than a minute.
func NackBackoff(base time.Duration) Policy {
	return func(f *Fault) Decision {
		return Decision{Do: ActNack, After: exponential(base, max(f.Meta.Attempt, 1))}
	}
}

// DeadLetter gives the entry to its source's dead letters at once.
func DeadLetter(*Fault) Decision { return Decision{Do: ActDead} }

// Drop gives up the message, and counts it.
func Drop(*Fault) Decision { return Decision{Do: ActDrop} }

// Stop stops the graph with a *StageError. The entry goes back to its source.
func Stop(*Fault) Decision { return Decision{Do: ActStop} }

// DefaultPolicy is the policy of graphs that set none: three retries in place, starting at 50 ms,
// then NackBackoff, starting at a second. So an entry whose handler fails because something is down
// for some minutes lives through it.
var DefaultPolicy = Retry(3, 50*time.Millisecond, NackBackoff(time.Second))

// exponential is the wait before the n-th retry (n from 1): base·2^(n-1) with ±50 % jitter, at most a minute.
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

// verdict is an error by which a handler decides about its message itself.
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

// Skip is the verdict of a handler that wants the message dropped: it is done, and counted as dropped. It is no fault.
var Skip error = &verdict{do: ActDrop}

// RetryAfter is the verdict of a handler that wants the message delivered again after d: the entry goes back to its
// source, and nothing waits for it here. A source that cannot deliver again makes the stage wait
// and retry in place, after 10ms at the earliest.
//
// With a Redis stream, a delay longer than the lease lives in this process, which renews it. If the process dies, the
// entry is delivered at most one lease later. For a delay that must survive, write the message with the sink's At.
func RetryAfter(d time.Duration, err error) error {
	return &verdict{do: ActNack, after: d, err: orUnspecified(err)}
}

// Reject is the verdict of a handler that knows the message to be hopeless: it goes to the dead
// letters at once. Where the source has none the graph stops.
func Reject(err error) error { return &verdict{do: ActDead, err: orUnspecified(err)} }

func orUnspecified(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}

// Verdict tells whether an error is, or wraps, a verdict (Skip, RetryAfter, Reject), and what it
// decides (nothing, if it is none): for operators that turn errors into something else and have to
// let verdicts pass.
func Verdict(err error) (Decision, bool) {
	if v := verdictOf(err); v != nil {
		return Decision{Do: v.do, After: v.after}, true
	}
	return Decision{}, false
}

// verdictOf finds the verdict that an error is or wraps. What a WriteError has about single
// messages decides about none of the others.
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

// verdictIs reports whether an error is the verdict to do a.
func verdictIs(err error, a Action) bool {
	v := verdictOf(err)
	return v != nil && v.do == a
}

// decide asks the verdict, if the error is one, or else the policy. A permanent error stops the graph. If
// the policy panics the entry goes back.
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

// Failure is a message that failed, as a value: what Try's second output carries, and what goes into a stream of
// failures. It has a JSON form.
type Failure[T any] struct {
	Value   T         `json:"value"`
	Error   string    `json:"error"`
	Stage   string    `json:"stage"`
	ID      string    `json:"id,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	Time    time.Time `json:"time"`

	err error
}

// NewFailure makes the failure of a message at a stage.
func NewFailure[T any](stage string, m Message[T], err error) Failure[T] {
	return Failure[T]{
		Value: m.Value, Error: err.Error(), Stage: stage, ID: m.ID(), Attempt: m.Attempt(), Time: time.Now(), err: err,
	}
}

// Err returns the error as it was; after a round trip through JSON one with the same text.
func (f Failure[T]) Err() error {
	if f.err == nil && f.Error != "" {
		return errors.New(f.Error)
	}
	return f.err
}
