package source

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"

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

// mistakes collects the errors of a config for Validate.
type mistakes []flow.StageOption

func (m *mistakes) add(field, issue, fix string) { *m = append(*m, flow.Invalid(field, issue, fix)) }

// of adds the errors that redisio found, with the field names of this package.
func (m *mistakes) of(err error, names map[string]string) {
	var one *redisio.ConfigError
	switch e := err.(type) {
	case nil:
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			m.of(err, names)
		}
	default:
		if !errors.As(err, &one) {
			*m = append(*m, flow.InvalidError(err))
			return
		}
		field := one.Field
		if name, ok := names[field]; ok {
			field = name
		}
		m.add(field, one.Problem, one.Fix)
	}
}

// both reports that Codec and Format are both set.
func (m *mistakes) both(codec, format bool) {
	if codec && format {
		m.add("Format", "is set besides Codec", "choose one: a format has its own codec")
	}
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
