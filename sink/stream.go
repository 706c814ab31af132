package sink

import (
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// StreamConfig configures Stream. Key or KeyFor is required; the zero value of any other field
// selects its default.
type StreamConfig[T any] struct {
	// Key is the Redis key of the stream.
	Key string
	// KeyFor returns the stream for a message, when not all go to one; "" selects Key. If the
	// server refuses that key, because it holds another type or the user has no permission for it,
	// the message is rejected.
	KeyFor func(flow.Message[T]) string

	// Codec encodes the data of native entries. Defaults to redisio.DefaultCodec: strings and
	// []byte unchanged, everything else as JSON.
	Codec redisio.Codec[T]
	// Format encodes whole entries, instead of Codec. Defaults to redisio.Native, or to redisio.Raw
	// for redisio.Fields.
	Format redisio.Format[T]
	// OmitMeta leaves the message's MessageID, Key, Type, ReplyTo, Deadline and Headers out of the entry.
	OmitMeta bool

	// MaxLen is the number of entries to keep, as far as all consumer groups have settled the rest.
	// Defaults to 0, no limit. Tuning has more limits, and says when entries are trimmed. See
	// [writer.Config].
	MaxLen int64

	// DedupeWindow is how long the stream remembers the ids of its entries and drops entries with
	// the same id. Defaults to 0, off. With it, a message can be written again without a duplicate
	// after its reply was lost. It costs speed, see [writer.Config].
	DedupeWindow time.Duration
	// IDFor returns the dedupe id of a message: messages with the same id are duplicates. Defaults
	// to the MessageID with a hash of the entry, also when IDFor returns "". The hash is needed
	// because one message may have become several; a redelivery that produces identical bytes is
	// still dropped. A message without MessageID gets a unique id, which guards only against the
	// sink's own retries.
	IDFor func(flow.Message[T]) string

	// At returns when to write a message. If the time is in the future, the message goes to the
	// schedule of its stream, and the groups that read the stream move it there when it is due, see
	// [schedule.Scheduler]. Retention, HardCap and DedupeWindow do not apply to it. A zero time
	// means now.
	At func(flow.Message[T]) time.Time

	// HeadersFor returns headers that are appended to those of the message. Defaults to none.
	HeadersFor func(flow.Message[T]) flow.Headers

	// OnFull is called before each retry of a message for which the server has no memory or the
	// stream has no room. If it returns nil, the sink waits for room; flow.Skip drops the message,
	// and any other error fails it. Defaults to waiting. It must not block.
	OnFull func(flow.Message[T]) error

	// Wait is how long to keep trying if Redis is not reachable at the start. Defaults to 0: the
	// graph stops with the error of the first try. Once started, the sink retries without limit.
	Wait time.Duration
	// OnRetry is called for each write that will be retried. It must not block.
	OnRetry func(StreamRetry)
	// OnEvent is called when retention or the cap drops unread entries, and when trimming fails. It
	// must not block.
	OnEvent func(redisio.Event)

	writer.Tuning
}

// StreamRetry describes a failed write that will be retried.
type StreamRetry struct {
	Key        string // of the config
	NotWritten int    // messages that certainly were not written
	// Unknown counts messages that were sent without a reply arriving. Without DedupeWindow, those
	// that were written will be in the stream twice.
	Unknown int
	Err     error
	Wait    time.Duration // before the next try
}

const defaultDepth = 128

// pipelinesOfChunk is how many pipelines a full chunk fills. The writer sends them without waiting
// for the replies in between.
const pipelinesOfChunk = 4

// Stream appends each message to a Redis stream. A message is regarded as written when the server
// has replied with the entry's id. Each reply is checked, so a failed message does not affect its
// neighbours.
//
// While Redis is unreachable, full or loading, the sink retries until the graph is stopped.
// Meanwhile the sources stop reading, and nothing is lost or dead-lettered. If its reply was lost,
// a message is written again, so it may be in the stream twice (at least once) unless DedupeWindow
// is set. OnRetry reports how many, and in the native format the second copy is marked
// (flow.Meta.MaybeDuplicate). A message that is too large or cannot be encoded is rejected (see
// flow.Reject). So is a message for which KeyFor chose a key that the server refuses, such as a key
// of another type. Missing permissions and a Key of the wrong type stop the graph.
//
// In the native format the message's MessageID, Key, Type, ReplyTo, Deadline and Headers become the
// fields id, key, type, reply, limit (the remaining time) and h:*. The headers "traceparent",
// "tracestate" and "baggage" become the fields of these names, or those of the sink's own span if the
// graph is traced (see flow.Tracer). MaybeDuplicate becomes dup. The sink's own goroutine encodes the values
// while the stages before it work. With Pipelines 1, flow.Workers and flow.KeyedBy let the sink
// write in parallel and keep each key's order.
//
// The client belongs to the caller: the sink derives connections from it and never closes it.
func Stream[T any](rdb redis.UniversalClient, cfg StreamConfig[T], opts ...flow.StageOption) flow.Sink[T] {
	wc := writer.Config{Key: cfg.Key, MaxLen: cfg.MaxLen, DedupeWindow: cfg.DedupeWindow, Wait: cfg.Wait,
		Tuning: cfg.Tuning}
	base := []flow.StageOption{flow.InvalidError(cfg.validate(rdb, wc.Validate()))}
	if wc.Depth <= 0 {
		wc.Depth = defaultDepth
	}
	base = append(base, flow.ChunkSize(pipelinesOfChunk*wc.Depth), flow.Async())
	if wc.Pipelines > 1 {
		base = append(base, flow.Workers(wc.Pipelines), flow.Unordered())
	}
	wc.Pipelines = 1 // each worker has its own Writer and connection
	format := redisio.FormatOf(cfg.Codec, cfg.Format)
	return flow.NewSink("stream", func() flow.Writer[T] {
		s := &streamWriter[T]{cfg: &cfg, format: format}
		own := wc
		own.OnEvent = s.event
		s.w, s.err = writer.New(rdb, own)
		return s
	}, append(base, opts...)...)
}

// validate returns all mistakes of the configuration, and err, those of the writer's.
func (c *StreamConfig[T]) validate(rdb redis.UniversalClient, err error) error {
	m := redisio.MistakesOf("sink.StreamConfig")
	m.Client(rdb)
	m.If(c.Key == "" && c.KeyFor == nil, "Key", "is empty", "name the stream to write to, or set KeyFor")
	m.If(c.Codec != nil && c.Format != nil, "Format", "is set besides Codec", "choose one: a format has its own codec")
	if c.DedupeWindow == 0 {
		m.If(c.IDFor != nil, "IDFor", "is set without DedupeWindow", "set DedupeWindow, or remove IDFor")
		m.If(c.Durability.Replicas > 0 || c.Durability.Fsync, "Durability", "is set without DedupeWindow",
			"set DedupeWindow: unconfirmed writes are repeated")
	}
	m.Join(err)
	if c.At != nil && c.Key != "" && err == nil {
		m.Join(schedule.Config{Key: c.Key, MaxPayload: c.MaxPayload}.Validate())
	}
	return m.Err()
}
