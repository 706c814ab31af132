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
	"github.com/streamerson/streamerson-go/source"
)

// EventsConfig configures Events. The zero value is the default.
type EventsConfig struct {
	// MaxLen is how many events are kept, roughly: how far back subscribers and browsers can go.
	// Those that a group of subscribers has not handled stay, however many, up to MaxBytes. The
	// default is 10,000.
	MaxLen int64
	// MaxBytes is how much memory of Redis the events may take. Beyond that the oldest go,
	// those that a group of subscribers has not handled as well. Defaults to 64 MiB; the least is
	// 64 KiB.
	MaxBytes int64
	// MaxPayload bounds the bytes of an event. The default is 1 MiB.
	MaxPayload int
	// Timeout is how long publishing may take when its context has no deadline. The default is 10 s.
	Timeout time.Duration
}

const (
	defaultEventBytes = 64 << 20
	leastEventBytes   = 64 << 10
)

// Events are what a topic tells everybody who listens, beside the requests that it answers: Publish
// writes them, Subscribe and SSE read them. They are native entries of the stream EventsKey(topic).
// It is safe for concurrent use, and one is enough for a process: who publishes at the same time
// shares a pipeline.
type Events struct {
	cfg  EventsConfig
	key  string
	own  string
	err  error // of the configuration
	next atomic.Uint64
	out  *outbox
}

// EventsKey is the Redis key of a topic's events.
func EventsKey(topic string) string { return keysOf(topic).events }

// NewEvents makes the publisher's side of a topic's events. It does no I/O: that begins with the
// first event. Mistakes in its arguments are what publishing fails with, and Validate.
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
		redisio.WriterConfig{Key: e.key, MaxLen: cfg.MaxLen, MaxBytes: cfg.MaxBytes, WhenFull: redisio.FullDrop,
			MaxPayload: cfg.MaxPayload, Depth: 512},
	)
	e.out.patient = true
	return e
}

// Validate reports what is wrong with what it was made of. It needs no server.
func (e *Events) Validate() error { return e.err }

// Publish makes a function that tells everybody of an event of a type: it returns when Redis has
// it. While Redis is away it waits, until the context is done or EventsConfig.Timeout is over,
// which is ErrTimeout. An event whose writing was in doubt is written again, with the same ID: its
// readers may see it twice. Keyed says what an event is about, which SSE takes for its topic;
// Header goes with each, Timeout bounds it. A panic of Keyed, or of how the value is encoded, is a
// *flow.PanicError. Values travel as JSON, strings and bytes as they are.
func Publish[T any](e *Events, typ string, opts ...CallOption) func(context.Context, T) error {
	p := planOf[T](typ, opts)
	return func(ctx context.Context, v T) error {
		r, err := guarded(&p, v)
		if err != nil {
			return err
		}
		return e.publish(ctx, p.with(ctx, r, v))
	}
}

// guarded makes a request of a value. A panic of Keyed, or of how the value is encoded, is its error.
func guarded[T any](p *plan[T], v T) (r Request, err error) {
	defer caught(&err)
	return p.request(v)
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

// Close ends publishing: what is published afterwards fails with ErrClosed. The Redis client is left as it is.
func (e *Events) Close(ctx context.Context) error {
	return e.out.close(ctx)
}

// SubscribeConfig configures Subscribe. The zero value is the default.
type SubscribeConfig struct {
	// Group shares the events between the processes that name the same one: each is handled once,
	// and again if that fails, as any entry that a group reads. Without it every process gets every
	// event, and none is delivered again.
	Group string
	// Start is where to begin: without a Group at the end, with one that does not exist yet at the beginning.
	Start redisio.Start
	// Wait is how long to keep trying while Redis is not reachable at the start; see source.StreamConfig.
	Wait time.Duration
}

// Subscribe is a source of a topic's events of a type, or of all types if that is "". Events of
// other types are passed over. What can't be decoded goes by the source's fault policy: without a
// Group it is dropped, with one it goes to the dead letters.
//
//	created := gateways.Subscribe[Order](rdb, "orders", "created", gateways.SubscribeConfig{Group: "billing"})
//	g := flow.New("billing", flow.To(created, sink.Func(bill)))
//
// Order: kept. Acks: those of source.Stream with a Group, none without. Holds: nothing. Ends: by drain only.
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
		all = source.Tail(rdb, source.TailConfig[occurrence[T]]{Key: EventsKey(topic), Start: cfg.Start, Wait: cfg.Wait, Format: format}, opts...)
	}
	return operators.FilterMap(
		all,
		func(_ context.Context, o occurrence[T]) (T, bool, error) { return o.value, o.wanted, nil },
	)
}

// occurrence is an event, of the type that is wanted or of another.
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
