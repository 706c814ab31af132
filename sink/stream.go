package sink

import (
	"errors"
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

	// Retention keeps at most MaxLen entries, entries from MinID on, and entries younger than
	// MaxAge. An entry is trimmed when it violates one of these limits. Entries that a consumer
	// group has not read or not settled are kept regardless, unless DropUnread is set; then losses
	// are counted, see OnEvent. The stream is trimmed when it is written to, some 1000 entries at a
	// time. A group that no process reads any more prevents trimming. OnEvent and the log name it
	// (redisio.EventHeldBack); delete it with XGROUP DESTROY.
	MaxLen     int64
	MinID      string
	MaxAge     time.Duration
	DropUnread bool
	// Exact trims to exactly the limit, with each chunk. It costs the server more than the default,
	// which frees whole nodes. A stream far beyond the limit is trimmed in steps of 10,000 entries,
	// 16 of them with each chunk.
	Exact bool

	// HardCap is the maximum length of the stream; the sink exceeds it by at most a chunk per
	// worker. When it is reached and the groups have not settled the oldest entries, WhenFull
	// decides. redisio.FullPause, the default, waits until there is room, so that the sources stop
	// reading. FullDrop drops the oldest entries and counts the losses. FullRefuse rejects the
	// message with a *redisio.StreamFullError, so that it becomes a dead letter.
	HardCap  int64
	WhenFull writer.Full
	// MaxBytes is the maximum memory of the stream in Redis, its groups included. Defaults to 0, no
	// limit. To make room, entries that all groups have settled are trimmed first. Then, with
	// DropUnread, the oldest are trimmed, or else WhenFull decides. With FullRefuse a message is
	// also rejected at once when the server is out of memory. See [writer.Config].
	MaxBytes int64

	// DedupeWindow is how long the stream remembers the ids of its entries and drops entries with
	// the same id. Defaults to 0, off. With it a message whose reply was lost can be written again
	// without a duplicate. It costs speed, see [writer.Config].
	DedupeWindow time.Duration
	// DedupeIDs is the maximum number of ids that the stream remembers. Defaults to 100,000.
	DedupeIDs int
	// IDFor returns the dedupe id of a message: messages with the same id are duplicates. Defaults
	// to the MessageID with a hash of the entry, also when IDFor returns "". The hash is needed
	// because one message may have become several; a redelivery that produces identical bytes is
	// still dropped. A message without MessageID gets a unique id, which guards only against the
	// sink's own retries.
	IDFor func(flow.Message[T]) string

	// OnlyExisting writes only to existing streams: a message for a missing stream is dropped and
	// counted, as by flow.Skip. It is for mailboxes, which their reader creates and deletes. MaxLen
	// and MaxBytes then also trim entries that were not read. See [writer.Config].
	OnlyExisting bool
	// Together makes the entries of one write, if there are at most 64, appear atomically, so that
	// a blocked reader gets all of them in one read. It excludes all retention except that of
	// OnlyExisting.
	Together bool

	// Durability makes the sink wait until replicas, or the server's disk, have what it wrote, and
	// repeat writes that are not confirmed in time. It requires DedupeWindow, because the repeated
	// writes would be duplicates.
	Durability writer.Durability

	// At returns when to write a message. If the time is in the future, the message goes to the
	// schedule of its stream, and the groups that read the stream move it there when it is due, see
	// [schedule.Scheduler]. Retention, HardCap and DedupeWindow do not apply to it. A zero time
	// means now.
	At func(flow.Message[T]) time.Time

	// HeadersFor returns headers that are appended to those of the message. Defaults to none.
	HeadersFor func(flow.Message[T]) flow.Headers

	// OnFull is called before each retry of a message for which the server has no memory or the
	// stream has no room. nil waits for room, flow.Skip drops the message, and any other error
	// fails it. Defaults to waiting. It must not block.
	OnFull func(flow.Message[T]) error

	// MaxPayload is the maximum size of an entry in bytes. A larger message is rejected with a
	// *redisio.TooLargeError before it is sent. Defaults to 1 MiB.
	MaxPayload int
	// Pipelines is the number of pipelines in flight. Defaults to 1, which keeps the order of the
	// messages; with more, chunks overtake each other. Two to four are the fastest.
	Pipelines int
	// Depth is the maximum number of messages in a pipeline. Defaults to 128.
	Depth int

	// Wait is how long to keep trying if Redis is not reachable at the start. Defaults to 0: the
	// graph stops with the error of the first try. Once started, the sink retries without limit.
	Wait time.Duration
	// OnRetry is called for each write that will be retried. It must not block.
	OnRetry func(StreamRetry)
	// OnEvent is called when retention or the cap drops unread entries, and when trimming fails. It
	// must not block.
	OnEvent func(redisio.Event)
}

// StreamRetry describes a failed write that will be retried.
type StreamRetry struct {
	Key        string // of the config
	NotWritten int    // messages that certainly were not written
	// Unknown counts messages whose reply was lost. Without DedupeWindow, those that were written
	// will be in the stream twice.
	Unknown int
	Err     error
	Wait    time.Duration // before the next try
}

const defaultDepth = 128

// Stream appends each message to a Redis stream. A message counts as written when the server has
// replied with the entry's id. Each reply is checked, so a failed message does not affect its
// neighbours.
//
// While Redis is unreachable, full or loading, the sink retries until the graph is stopped.
// Meanwhile the sources stop reading, and nothing is lost or dead-lettered. A message whose reply
// was lost is written again, so it may be in the stream twice (at least once) unless DedupeWindow
// is set. OnRetry counts these messages, and in the native format the second copy is marked
// (flow.Meta.MaybeDuplicate). A message that is too large or cannot be encoded is rejected (see
// flow.Reject). So is a message for which KeyFor chose a key that the server refuses, such as a key
// of another type. Missing permissions and a Key of the wrong type stop the graph.
//
// In the native format the message's MessageID, Key, Type, ReplyTo, Deadline and Headers become the
// fields id, key, type, reply, limit (the remaining time) and h:* (the header "traceparent" becomes
// the trace context), and MaybeDuplicate becomes dup. The sink's own goroutine encodes the values
// while the stages before it work. With Pipelines 1, flow.Workers and flow.KeyedBy let the sink
// write in parallel and keep each key's order.
//
// The client belongs to the caller: the sink derives connections from it and never closes it.
func Stream[T any](rdb redis.UniversalClient, cfg StreamConfig[T], opts ...flow.StageOption) flow.Sink[T] {
	wc := writer.Config{Key: cfg.Key, MaxLen: cfg.MaxLen, MinID: cfg.MinID, MaxAge: cfg.MaxAge, Exact: cfg.Exact,
		DropUnread: cfg.DropUnread, HardCap: cfg.HardCap, WhenFull: cfg.WhenFull, MaxBytes: cfg.MaxBytes,
		DedupeWindow: cfg.DedupeWindow, DedupeIDs: cfg.DedupeIDs, OnlyExisting: cfg.OnlyExisting,
		Together: cfg.Together, Durability: cfg.Durability, MaxPayload: cfg.MaxPayload, Depth: cfg.Depth,
		Pipelines: cfg.Pipelines, Wait: cfg.Wait}
	base := cfg.mistakes(rdb, wc.Validate())
	if wc.Depth <= 0 {
		wc.Depth = defaultDepth
	}
	base = append(base, flow.ChunkSize(wc.Depth), flow.Async())
	if wc.Pipelines > 1 {
		base = append(base, flow.Workers(wc.Pipelines), flow.Unordered())
	}
	wc.Pipelines = 1 // each worker has its own Writer and connection
	format := redisio.FormatOf(cfg.Codec, cfg.Format)
	return flow.NewSink("stream", func() flow.Writer[T] {
		s := &streamWriter[T]{cfg: &cfg, rdb: rdb, format: format}
		own := wc
		own.OnEvent = s.event
		s.w, s.err = writer.New(rdb, own)
		return s
	}, append(base, opts...)...)
}

// mistakes returns the errors of the configuration for Validate.
func (c *StreamConfig[T]) mistakes(rdb redis.UniversalClient, err error) (wrong []flow.StageOption) {
	add := func(field, issue, fix string) { wrong = append(wrong, flow.Invalid(field, issue, fix)) }
	if redisio.IsNilClient(rdb) {
		add("rdb", "the Redis client is nil", "pass a client, see redisio.Connect")
	}
	if c.Key == "" && c.KeyFor == nil {
		add("Key", "is empty", "name the stream to write to, or set KeyFor")
	}
	if c.Codec != nil && c.Format != nil {
		add("Format", "is set besides Codec", "choose one: a format has its own codec")
	}
	if c.DedupeWindow == 0 && c.IDFor != nil {
		add("IDFor", "is set without DedupeWindow", "set DedupeWindow, or remove IDFor")
	}
	if c.DedupeWindow == 0 && (c.Durability.Replicas > 0 || c.Durability.Fsync) {
		add("Durability", "is set without DedupeWindow", "set DedupeWindow: unconfirmed writes are repeated")
	}
	var of func(err error)
	of = func(err error) {
		var one *redisio.ConfigError
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range many.Unwrap() {
				of(err)
			}
		} else if errors.As(err, &one) {
			add(one.Field, one.Problem, one.Fix)
		} else if err != nil {
			wrong = append(wrong, flow.InvalidError(err))
		}
	}
	of(err)
	if c.At != nil && c.Key != "" && err == nil {
		of(schedule.Config{Key: c.Key, MaxPayload: c.MaxPayload}.Validate())
	}
	return wrong
}
