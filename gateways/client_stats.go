package gateways

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// CallOutcome is how a call ended.
type CallOutcome int

const (
	CallAnswered    CallOutcome = iota // with a reply; of Send: stored
	CallFailed                         // with an error of the service, or a reply that can't be decoded
	CallTimedOut                       // no reply in time
	CallOverloaded                     // refused by the client or the service, see ErrOverloaded
	CallUnavailable                    // not sent: Redis or all services are away, or the client is closed
	CallCancelled                      // by the caller
	CallInvalid                        // not sent: the request or the client is invalid
	callOutcomes
)

// CallOutcomes is the number of outcomes.
const CallOutcomes = int(callOutcomes)

// String returns the outcome in snake case.
func (o CallOutcome) String() string {
	return [...]string{"answered", "failed", "timed_out", "overloaded", "unavailable", "cancelled", "invalid"}[o]
}

// callBounds are the upper bounds of the latency buckets. The last bucket has no bound, so it is
// not listed.
var callBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// CallBounds returns the upper bounds of the buckets of Latency, inclusive, from 250 µs to 10 s.
func CallBounds() []time.Duration { return slices.Clone(callBounds[:]) }

// Latency is how long calls took.
type Latency struct {
	Count uint64
	Sum   time.Duration
	// Buckets has the number of calls up to each of CallBounds that are above the bound before it,
	// and at the end those above all bounds.
	Buckets [len(callBounds) + 1]uint64
}

// ClientStats has the calls of a client by outcome, since it was created. Calls that were refused
// before they were sent count too.
type ClientStats struct {
	Calls   [CallOutcomes]Latency // of Do and Call
	Streams [CallOutcomes]Latency // of Stream, until the end of the reply
	Sends   [CallOutcomes]Latency // of Send
	Waiting int                   // calls and streams that wait for a reply now
}

// clientCounters count calls, with two atomic additions each.
type clientCounters struct{ calls, streams, sends outcomeCounters }

type outcomeCounters [callOutcomes]latencyCounter

// since records the outcome of a call that began at start and has ended with an error or nil.
func (c *outcomeCounters) since(ctx context.Context, start time.Time, err *error) {
	c[outcomeOf(ctx, *err)].add(time.Since(start))
}

// latencyCounter counts how long calls took.
type latencyCounter struct {
	sum     atomic.Int64
	buckets [len(callBounds) + 1]atomic.Uint64
}

func (c *latencyCounter) add(took time.Duration) {
	at := 0
	for at < len(callBounds) && took > callBounds[at] {
		at++
	}
	c.sum.Add(int64(took))
	c.buckets[at].Add(1)
}

func (c *latencyCounter) read() (l Latency) {
	l.Sum = time.Duration(c.sum.Load())
	for b := range l.Buckets {
		l.Buckets[b] = c.buckets[b].Load()
		l.Count += l.Buckets[b]
	}
	return l
}

func outcomeOf(ctx context.Context, err error) CallOutcome {
	var remote *RemoteError
	switch {
	case err == nil:
		return CallAnswered
	case errors.Is(err, ErrOverloaded):
		return CallOverloaded
	case errors.As(err, &remote), errors.Is(err, ErrInterrupted):
		return CallFailed
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrFull), errors.Is(err, ErrNoService),
		errors.Is(err, ErrClosed):
		return CallUnavailable
	case errors.Is(err, ErrTimeout):
		return CallTimedOut
	case ctx.Err() != nil:
		return CallCancelled
	}
	return CallInvalid
}

func (c *outcomeCounters) read() (all [CallOutcomes]Latency) {
	for i := range c {
		all[i] = c[i].read()
	}
	return all
}

// Stats returns the counts.
func (c *Client) Stats() ClientStats {
	s := ClientStats{Calls: c.stats.calls.read(), Streams: c.stats.streams.read(), Sends: c.stats.sends.read()}
	s.Waiting = c.calls.count()
	return s
}
