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

// traceparent is the header under which the trace context of a native entry travels.
const traceparent = "traceparent"

// entries turns entries of a Redis stream into messages. It belongs to the goroutine that reads.
type entries[T any] struct {
	format redisio.Format[T]
	env    redisio.Envelope
	ahead  time.Duration // of Redis's clock: how far ours is
	most   int           // deliveries; what comes more often has not even failed: whoever had it died of it. 0: no limit
}

// errExhausted is the fault of an entry that was delivered too often without anybody living to say how it ended.
var errExhausted = errors.New(
	"source: delivered MaxDeliveries times, and each time its reader ended before it was done",
)

// errWithheld is the fault of an entry that cannot be read here, and lies in the stream as it was.
var errWithheld = errors.New(
	"source: the entry is larger than the server, or a proxy, sends: raise client-output-buffer-limit or the proxy's limit",
)

// add adds a batch to the intake. An entry that cannot be decoded is added as a bad one: it is a fault of its own, and
// says nothing about its neighbours.
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

// decode makes a panic of a format or codec a failure of the entry at hand.
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

// mistakes gathers what is wrong with a config, for Validate to report.
type mistakes []flow.StageOption

func (m *mistakes) add(field, issue, fix string) { *m = append(*m, flow.Invalid(field, issue, fix)) }

// of adds the mistakes that redisio found, under the names that the fields have here.
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

// both reports two fields of which only one may be set.
func (m *mistakes) both(codec, format bool) {
	if codec && format {
		m.add("Format", "is set beside Codec", "choose one: a format has a codec of its own")
	}
}

// final marks an error that ends a reader: redisio waits and reconnects by itself where that can help.
func final(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return flow.Permanent(err)
}

// tries is the wait between tries of what redisio does not try again by itself.
func tries() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: 20 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2,
		MaxInterval: 5 * time.Second}
}

// pause waits, and reports whether the context still runs.
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
