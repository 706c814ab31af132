package flow

import (
	"math"
	"time"

	"github.com/cenkalti/backoff/v5"
)

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
