package events

import (
	"cmp"
	"context"
	"crypto/rand"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// PublisherConfig configures Events. The zero value is the default.
type PublisherConfig struct {
	// MaxLen is roughly how many events are kept for subscribers and browsers that read back.
	// Events that a group of subscribers has not handled are kept in addition, up to MaxBytes.
	// Defaults to 10,000.
	MaxLen int64
	// MaxBytes is how much memory the events may use in Redis. Beyond it the oldest are deleted,
	// even if a group has not handled them. Defaults to 64 MiB. The minimum is 64 KiB.
	MaxBytes int64
	// MaxPayload limits the bytes of an event. Defaults to 1 MiB.
	MaxPayload int
	// Timeout is how long publishing may take if its context has no deadline. Defaults to 10 s.
	Timeout time.Duration
}

const (
	defaultEventBytes = 64 << 20
	leastEventBytes   = 64 << 10
)

// Publisher publishes events of a topic, in addition to the requests that the topic answers. Publish
// writes them, Subscribe and package sse read them. They are native entries of the stream Key(topic).
// Events is safe for concurrent use. One per process is enough: concurrent publishers share a
// pipeline.
type Publisher struct {
	cfg  PublisherConfig
	key  string
	own  string
	err  error // of the configuration
	next atomic.Uint64
	out  *outbox.Outbox
}

// Key returns the Redis key of a topic's events.
func Key(topic string) string { return slot.TopicOf(topic).Events }

// NewPublisher creates the publisher of a topic's events. It does no I/O until the first event.
// Mistakes in its arguments are reported by Validate and by each Publish.
func NewPublisher(rdb redis.UniversalClient, topic string, cfg PublisherConfig) *Publisher {
	e := &Publisher{key: Key(topic), own: rand.Text()[:16]}
	m := redisio.MistakesOf("PublisherConfig")
	m.Join(slot.CheckTopic("NewPublisher", topic))
	m.Negative("MaxLen", cfg.MaxLen, "leave it 0 for 10,000 events")
	m.Negative("MaxPayload", int64(cfg.MaxPayload), "leave it 0 for 1 MiB")
	m.Negative("Timeout", int64(cfg.Timeout), "leave it 0 for 10 seconds")
	m.Is(cfg.MaxBytes != 0 && cfg.MaxBytes < leastEventBytes, "MaxBytes", cfg.MaxBytes,
		"choose 65536 bytes or more, or leave it 0 for 64 MiB")
	m.Client(rdb)
	cfg.MaxLen = cmp.Or(cfg.MaxLen, 10_000)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, defaultEventBytes)
	cfg.MaxPayload = cmp.Or(cfg.MaxPayload, 1<<20)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	e.cfg, e.err = cfg, m.Err()
	e.out = outbox.New(
		rdb,
		writer.Config{Key: e.key, MaxLen: cfg.MaxLen, Tuning: writer.Tuning{
			MaxBytes:   cfg.MaxBytes,
			WhenFull:   writer.FullDrop,
			MaxPayload: cfg.MaxPayload,
			Depth:      512,
		}},
	)
	e.out.Patient = true
	return e
}

// Validate reports all mistakes in the arguments. It needs no server.
func (e *Publisher) Validate() error { return e.err }

// Access returns the rights to publish the events of a topic. ServiceConfig.Access has them.
//
//	rdb.ACLSetUser(ctx, "news", append(events.PublisherConfig{}.Access("orders").Rules(), "on", ">password")...)
func (c PublisherConfig) Access(topic string) redisio.Access {
	return slot.TopicOf(topic).PublishEvents()
}

// Publish returns a function that publishes an event of a type. The function returns when Redis has
// stored the event. While Redis is unavailable it waits until the context is done, or until
// PublisherConfig.Timeout has passed, which is ErrTimeout. If the outcome of a write is unknown,
// the event is written again with the same ID, so readers may see it twice. Keyed sets the event's
// key, which SSE uses as its topic. Header and HeaderFor add headers to each event, the context
// adds those of PassOn. Timeout limits each call. A panic of Keyed, HeaderFor or the encoder is a
// *flow.PanicError. Values are sent as JSON; strings and bytes are sent unchanged.
func Publish[T any](e *Publisher, typ string, opts ...gateways.CallOption) func(context.Context, T) error {
	p := plan.Of[T](typ, opts)
	return func(ctx context.Context, v T) error {
		ev, err := newPublished(ctx, &p, v)
		if err != nil {
			return err
		}
		return e.publish(ctx, ev, p.Timeout)
	}
}

// published is an event to be written.
type published struct {
	outbox.Entry
	envelope redisio.Envelope
	body     []byte
	space    [6]redisio.Field // backs the fields of most events
}

// newPublished makes the event of a value. It converts a panic of Keyed, HeaderFor or the encoder
// into an error.
func newPublished[T any](ctx context.Context, p *plan.Plan[T], v T) (ev *published, err error) {
	defer problem.Caught(&err)
	key, body, err := p.Encode(v)
	if err != nil {
		return nil, err
	}
	ev = &published{body: body}
	ev.envelope = redisio.Envelope{Type: p.Type, Key: key, ContentType: p.Codec.ContentType()}
	wire.PutHeaders(&ev.envelope, plan.Passed(ctx, p.With(ctx, p.Headers, v)))
	return ev, nil
}

func (ev *published) encode(fields redisio.Fields) (redisio.Fields, error) {
	e := &ev.envelope
	size := len(ev.body) + len(e.Type) + len(e.ID) + len(e.Key) + len(e.ContentType) + 32 +
		len(e.Traceparent) + len(e.Tracestate) + len(e.Baggage)
	for _, h := range e.Headers {
		size += len(h.Name) + len(h.Value) + 8
	}
	fields, _, err := wire.Native.Encode(fields, make([]byte, 0, size), e, ev.body)
	return fields, err
}

// Rewrite marks the event as a possible copy.
func (ev *published) Rewrite() redisio.Fields {
	ev.envelope.MaybeDuplicate = true
	if fields, err := ev.encode(nil); err == nil {
		return fields
	}
	return ev.Out.Fields
}

func (e *Publisher) publish(ctx context.Context, ev *published, timeout time.Duration) (err error) {
	if _, bounded := ctx.Deadline(); !bounded || timeout > 0 {
		if timeout <= 0 {
			timeout = e.cfg.Timeout
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if e.err != nil {
		return e.err
	}
	ev.envelope.ID = e.own + "-" + strconv.FormatUint(e.next.Add(1), 36)
	defer traces.End(e.trace(ctx, &ev.envelope), &err)
	if ev.Out.Fields, err = ev.encode(ev.space[:0]); err != nil {
		return err
	}
	return e.out.Write(ctx, ev)
}

// trace begins the span of an event, which then carries it. It returns nil if ctx has no tracer.
func (e *Publisher) trace(ctx context.Context, ev *redisio.Envelope) flow.Span {
	t := flow.TracerOf(ctx)
	if t == nil {
		return nil
	}
	meta := flow.Meta{MessageID: ev.ID, Type: ev.Type, Headers: traces.Of(nil, ev)}
	span := t.Begin(ctx, flow.Work{Kind: flow.WorkWrite, Stream: e.key, Meta: meta})
	wire.PutHeaders(ev, span.Headers())
	return span
}

// Close ends publishing: later events fail with ErrClosed. The Redis client stays open.
func (e *Publisher) Close(ctx context.Context) error {
	return e.out.Close(ctx)
}
