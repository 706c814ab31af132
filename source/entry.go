package source

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// traceparent is the header that carries the trace context of a native entry.
const traceparent = "traceparent"

// entries turns entries of a Redis stream into messages. Owned by the reading goroutine.
type entries[T any] struct {
	format redisio.Format[T]
	env    redisio.Envelope
	ahead  time.Duration // how far the local clock is ahead of Redis's
	// most is the maximum number of deliveries; 0: no limit. An entry that exceeds it never failed,
	// because each of its readers died first.
	most int
}

// errExhausted is the fault of an entry that was delivered too often without any reader surviving
// to settle it.
var errExhausted = errors.New("source: delivered MaxDeliveries times, each time its reader ended before it was done")

// errWithheld is the fault of an entry that is too large to be read. It stays in the stream
// unchanged.
var errWithheld = errors.New(
	"source: the entry is too large to be read: raise client-output-buffer-limit or the proxy's limit",
)

// add adds a batch to the intake. An entry that cannot be decoded is added as a bad one, so it does
// not affect others.
func (es *entries[T]) add(in *flow.Intake[T], b *redisio.Batch) {
	if len(b.Entries) == 0 {
		return
	}
	in.Grow(len(b.Entries))
	for i := range b.Entries {
		e := &b.Entries[i]
		size := e.Fields.Size() + len(e.ID)
		if es.most > 0 && e.Deliveries > int64(es.most) {
			es.env = redisio.Envelope{}
			in.AddBad(es.meta(e), size, errExhausted)
			continue
		}
		if e.Withheld {
			es.env = redisio.Envelope{}
			in.AddBad(es.meta(e), size, errWithheld)
			continue
		}
		v, err := es.decode(e)
		if err != nil {
			in.AddBad(es.meta(e), size, err)
			continue
		}
		in.Add(v, es.meta(e), size)
	}
}

// decode returns a panic of a format or codec as an error of the entry.
func (es *entries[T]) decode(e *redisio.Entry) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &redisio.DecodeError{ID: e.ID, Err: &flow.PanicError{Value: p, Stack: debug.Stack()}}
		}
	}()
	return es.format.Decode(e, &es.env)
}

func (es *entries[T]) meta(e *redisio.Entry) flow.Meta {
	m := flow.Meta{ID: e.ID, MessageID: es.env.ID, Key: es.env.Key, Type: es.env.Type, Attempt: int(e.Deliveries),
		ReplyTo: es.env.ReplyTo, Deadline: es.env.Deadline, MaybeDuplicate: es.env.MaybeDuplicate}
	if !e.Position.IsZero() {
		m.Time = e.Position.Time()
	}
	if !m.Deadline.IsZero() {
		m.Deadline = m.Deadline.Add(es.ahead)
	}
	n := len(es.env.Headers)
	if es.env.Traceparent != "" {
		n++
	}
	if n == 0 {
		return m
	}
	m.Headers = make(flow.Headers, 0, n)
	for _, h := range es.env.Headers {
		m.Headers = append(m.Headers, flow.Header(h))
	}
	if es.env.Traceparent != "" {
		m.Headers = append(m.Headers, flow.Header{Name: traceparent, Value: es.env.Traceparent})
	}
	return m
}

// mistakes returns the errors that the configurations of all sources have in common.
func mistakes[T any](rdb redis.UniversalClient, codec redisio.Codec[T], format redisio.Format[T]) *redisio.Mistakes {
	m := redisio.MistakesOf("source")
	m.Client(rdb)
	m.If(codec != nil && format != nil, "Format", "is set besides Codec", "choose one: a format has its own codec")
	return m
}

// inFlight is flow.MaxInFlight, or no option for 0.
func inFlight(n int) flow.StageOption {
	if n == 0 {
		return nil
	}
	return flow.MaxInFlight(n)
}

// final marks the error of a reader as permanent, because redisio already retries and reconnects
// where that can help.
func final(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return flow.Permanent(err)
}

// tries returns the backoff for errors that redisio does not retry itself.
func tries() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: 20 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2,
		MaxInterval: 5 * time.Second}
}

// pause waits, and reports whether the context is still active.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
