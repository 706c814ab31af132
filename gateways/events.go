package gateways

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/source"
)

// EventsConfig configures Events. The zero value is the default.
type EventsConfig struct {
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

// Events publishes events of a topic, in addition to the requests that the topic answers. Publish
// writes them, Subscribe and SSE read them. They are native entries of the stream EventsKey(topic).
// Events is safe for concurrent use. One per process is enough: concurrent publishers share a
// pipeline.
type Events struct {
	cfg  EventsConfig
	key  string
	own  string
	err  error // of the configuration
	next atomic.Uint64
	out  *outbox
}

// EventsKey returns the Redis key of a topic's events.
func EventsKey(topic string) string { return keysOf(topic).events }

// NewEvents creates the publisher of a topic's events. It does no I/O until the first event.
// Mistakes in its arguments are reported by Validate and by each Publish.
func NewEvents(rdb redis.UniversalClient, topic string, cfg EventsConfig) *Events {
	e := &Events{key: EventsKey(topic), own: rand.Text()[:16]}
	var errs []error
	bad := func(wrong bool, field, fix string) {
		if wrong {
			errs = append(
				errs,
				&redisio.ConfigError{Type: "EventsConfig", Field: field, Problem: "is negative", Fix: fix},
			)
		}
	}
	bad(cfg.MaxLen < 0, "MaxLen", "leave it 0 for 10,000 events")
	bad(cfg.MaxPayload < 0, "MaxPayload", "leave it 0 for 1 MiB")
	bad(cfg.Timeout < 0, "Timeout", "leave it 0 for 10 seconds")
	if cfg.MaxBytes != 0 && cfg.MaxBytes < leastEventBytes {
		errs = append(errs, &redisio.ConfigError{Type: "EventsConfig", Field: "MaxBytes",
			Problem: "is " + strconv.FormatInt(
				cfg.MaxBytes,
				10,
			), Fix: "choose 65536 bytes or more, or leave it 0 for 64 MiB"})
	}
	def(&cfg.MaxLen, 10_000)
	def(&cfg.MaxBytes, defaultEventBytes)
	def(&cfg.MaxPayload, 1<<20)
	def(&cfg.Timeout, 10*time.Second)
	if redisio.IsNilClient(rdb) {
		errs = append(
			errs,
			&redisio.ConfigError{
				Type:    "NewEvents",
				Field:   "rdb",
				Problem: "the Redis client is nil",
				Fix:     "pass one, see redisio.Connect",
			},
		)
	}
	e.cfg, e.err = cfg, errors.Join(checkTopic("NewEvents", topic), errors.Join(errs...))
	e.out = newOutbox(
		rdb,
		writer.Config{Key: e.key, MaxLen: cfg.MaxLen, Tuning: writer.Tuning{
			MaxBytes:   cfg.MaxBytes,
			WhenFull:   writer.FullDrop,
			MaxPayload: cfg.MaxPayload,
			Depth:      512,
		}},
	)
	e.out.patient = true
	return e
}

// Validate reports all mistakes in the arguments. It needs no server.
func (e *Events) Validate() error { return e.err }

// Publish returns a function that publishes an event of a type. The function returns when Redis has
// stored the event. While Redis is unavailable it waits until the context is done, or until
// EventsConfig.Timeout has passed, which is ErrTimeout. An event whose write had an unknown outcome
// is written again with the same ID, so readers may see it twice. Keyed sets the event's key, which
// SSE uses as its topic. Header and HeaderFor add headers to each event, the context adds those of
// PassOn. Timeout limits each call. A panic of Keyed, HeaderFor or the encoder is a
// *flow.PanicError. Values are sent as JSON; strings and bytes are sent unchanged.
func Publish[T any](e *Events, typ string, opts ...CallOption) func(context.Context, T) error {
	p := planOf[T](typ, opts)
	return func(ctx context.Context, v T) error {
		r, err := guarded(ctx, &p, v)
		if err != nil {
			return err
		}
		return e.publish(ctx, r)
	}
}

// guarded makes a request of a value. It converts a panic of Keyed, HeaderFor or the encoder into an error.
func guarded[T any](ctx context.Context, p *plan[T], v T) (r Request, err error) {
	defer caught(&err)
	if r, err = p.request(v); err != nil {
		return r, err
	}
	return p.with(ctx, r, v), nil
}

func (e *Events) publish(ctx context.Context, r Request) error {
	if _, bounded := ctx.Deadline(); !bounded || r.timeout > 0 {
		d := r.timeout
		if d <= 0 {
			d = e.cfg.Timeout
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if e.err != nil {
		return e.err
	}
	r.Headers = passed(ctx, r.Headers)
	r.ID = e.own + "-" + strconv.FormatUint(e.next.Add(1), 36)
	p := &pending{request: r, format: requestFormat{}}
	p.again = p
	var err error
	if p.out.Fields, err = p.encode(p.space[:0], false); err != nil {
		return err
	}
	return e.out.write(ctx, &p.letter)
}

// Close ends publishing: later events fail with ErrClosed. The Redis client stays open.
func (e *Events) Close(ctx context.Context) error {
	return e.out.close(ctx)
}

// SubscribeConfig configures Subscribe. The zero value is the default.
type SubscribeConfig struct {
	// Group shares the events between the processes of the same group: one process handles each
	// event, and it is redelivered if that fails. Without a Group every process receives every
	// event, and none is redelivered.
	Group string
	// Start is where to begin. Defaults to the end without a Group, and to the beginning for a new
	// Group.
	Start redisio.Start
	// Wait is how long to retry if Redis is not reachable at the start; see source.StreamConfig.
	Wait time.Duration
}

// Subscribe returns a source of a topic's events of a type, or of all types if typ is "". Events of
// other types are skipped. An event that can't be decoded is subject to the source's fault policy:
// without a Group it is dropped, with one it becomes a dead letter.
//
//	created := gateways.Subscribe[Order](rdb, "orders", "created", gateways.SubscribeConfig{Group: "billing"})
//	g := flow.New("billing", flow.To(created, sink.Func(bill)))
//
// Order: kept. Acks: those of source.Stream with a Group, none without. Holds: nothing. Ends: by
// drain only.
func Subscribe[T any](
	rdb redis.UniversalClient,
	topic, typ string,
	cfg SubscribeConfig,
	opts ...flow.StageOption,
) flow.Source[T] {
	if err := checkTopic("Subscribe", topic); err != nil {
		opts = append(opts, flow.InvalidError(err))
	}
	format := eventFormat[T]{typ, redisio.DefaultCodec[T]()}
	var all flow.Source[occurrence[T]]
	if cfg.Group != "" {
		all = source.Stream(
			rdb,
			source.StreamConfig[occurrence[T]]{
				Key:    EventsKey(topic),
				Group:  cfg.Group,
				Start:  cfg.Start,
				Wait:   cfg.Wait,
				Format: format,
			},
			opts...)
	} else {
		all = source.Tail(rdb, source.TailConfig[occurrence[T]]{
			Key: EventsKey(topic), Start: cfg.Start, Wait: cfg.Wait, Format: format,
		}, opts...)
	}
	return operators.FilterMap(
		all,
		func(_ context.Context, o occurrence[T]) (T, bool, error) { return o.value, o.wanted, nil },
	)
}

// occurrence is an event, of the wanted type or of another.
type occurrence[T any] struct {
	value  T
	wanted bool
}

// eventFormat reads events of a type.
type eventFormat[T any] struct {
	typ   string
	codec redisio.Codec[T]
}

func (f eventFormat[T]) Encode(
	redisio.Fields,
	[]byte,
	*redisio.Envelope,
	occurrence[T],
) (redisio.Fields, []byte, error) {
	return nil, nil, errors.New("gateways: this format only reads")
}

func (f eventFormat[T]) Decode(entry *redisio.Entry, e *redisio.Envelope) (o occurrence[T], err error) {
	body, err := wire.Decode(entry, e)
	if err != nil || f.typ != "" && f.typ != e.Type {
		return o, err
	}
	o.wanted = true
	if o.value, err = decodeBody(f.codec, body, e.ContentType); err != nil {
		err = &redisio.DecodeError{ID: entry.ID, Field: "data", Err: err}
	}
	return o, err
}
