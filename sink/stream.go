package sink

import (
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// StreamConfig configures Stream. Key or KeyFor is required; the zero value of the rest is the default.
type StreamConfig[T any] struct {
	// Key is the Redis key of the stream.
	Key string
	// KeyFor chooses the stream for a message, when not all go to one; "" means Key. If the server refuses
	// that key, because it holds another type or the user has no rights for it, the message is rejected.
	KeyFor func(flow.Message[T]) string

	// Codec encodes the data of native entries. The default is redisio.DefaultCodec: strings and []byte as they are,
	// everything else JSON.
	Codec redisio.Codec[T]
	// Format encodes whole entries, instead of Codec. The default is redisio.Native, and
	// redisio.Raw for redisio.Fields.
	Format redisio.Format[T]
	// OmitMeta leaves the message's MessageID, Key, Type, ReplyTo, Deadline and Headers out of the entry.
	OmitMeta bool

	// Retention: keep MaxLen entries, those from MinID on, those younger than MaxAge; an entry goes
	// when one of them says so. What a consumer group has not read or not settled stays, however
	// much it is, unless DropUnread is set; then the losses are counted, see OnEvent. The stream is
	// trimmed as it is written to, some 1000 entries at a time. A group that no process reads any
	// more keeps the stream long: delete it with XGROUP DESTROY.
	MaxLen     int64
	MinID      string
	MaxAge     time.Duration
	DropUnread bool
	// Exact trims to the entry, and with each chunk, which costs the server more than the default
	// that frees whole nodes.
	Exact bool

	// HardCap is the most entries that the stream may have; the sink exceeds it by a chunk per
	// worker at most. When it is reached and the groups are not done with the oldest, WhenFull
	// decides: redisio.FullPause, the default, waits until there is room, so that the sources stop
	// reading; FullDrop drops the oldest and counts what is lost; FullRefuse rejects the message
	// with a *redisio.StreamFullError, so that it becomes a dead letter.
	HardCap  int64
	WhenFull redisio.Full
	// MaxBytes is the most memory that the stream may take in Redis, its groups included. Defaults
	// to 0, no limit. What the groups are done with makes room when it is needed; then, with
	// DropUnread, the oldest go, or else WhenFull decides. With FullRefuse a message is rejected at
	// once too when the server is out of memory. See [redisio.WriterConfig].
	MaxBytes int64

	// DedupeWindow makes the stream remember what was written, for this long, and drops what comes
	// again. The default is off. It costs speed, see [redisio.WriterConfig]; with it a message
	// whose reply was lost is written again without becoming two.
	DedupeWindow time.Duration
	// DedupeIDs is how many ids the stream remembers at most. The default is 100,000.
	DedupeIDs int
	// IDFor names what is written: messages with the same id are one. The default, and "", is the
	// MessageID with a hash of the entry, as one message may have become several, so that what a
	// redelivery makes again, to the byte, is dropped too. A message without MessageID gets an id
	// of its own, which guards against the sink's own retries and nothing else.
	IDFor func(flow.Message[T]) string

	// OnlyExisting makes no streams: a message for one that does not exist is dropped, as by
	// flow.Skip, and counted so. It is for mailboxes, which their reader makes and takes away.
	// MaxLen then drops what is beyond it, read or not.
	OnlyExisting bool
	// Together has what is written at a time, if that is 64 entries or fewer, appear at once, so
	// that a reader that waits gets all of it by one read. It goes with no retention but that of
	// OnlyExisting.
	Together bool

	// Durability makes the sink wait until replicas, or the server's disk, have what it wrote, and
	// write again what they don't confirm in time. It needs DedupeWindow, as that would make
	// duplicates.
	Durability redisio.Durability

	// At puts off a message: when the time is in the future, the message goes to the schedule of
	// its stream and is written when the time has come, see [redisio.Scheduler]; the groups that
	// read the stream see to that, and nothing of the retention, the cap and the window above holds
	// for it. A zero time means now.
	At func(flow.Message[T]) time.Time

	// HeadersFor are headers of a message, behind those that it has. Defaults to none.
	HeadersFor func(flow.Message[T]) flow.Headers

	// OnFull is asked about a message that the server has no memory for, or the stream has no room
	// for: before each try. nil waits for room, an error is the message's, and flow.Skip gives it
	// up. Defaults to waiting. It must not block.
	OnFull func(flow.Message[T]) error

	// MaxPayload bounds the bytes of an entry. A message beyond it is rejected, with a
	// *redisio.TooLargeError, before it is sent. The default is 1 MiB.
	MaxPayload int
	// Pipelines is how many pipelines are in flight. With 1, the default, the order of the messages is kept; with more,
	// chunks overtake each other. Two to four are the fastest.
	Pipelines int
	// Depth is how many messages a pipeline carries at most. The default is 128.
	Depth int

	// Wait is how long to keep trying while Redis is not reachable at the start. By default the
	// graph stops with the error of the first try. Once it has started the sink tries again for as
	// long as it takes.
	Wait time.Duration
	// OnRetry is told of each write that is tried again. It must not block.
	OnRetry func(StreamRetry)
	// OnEvent is told of entries that retention or the cap dropped unread, and of trimming that
	// fails. It must not block.
	OnEvent func(redisio.Event)
}

// StreamRetry is a write that did not get through and is tried again.
type StreamRetry struct {
	Key        string        // of the config
	NotWritten int           // messages that surely were not written
	Unknown    int           // messages whose reply was lost: without DedupeWindow those that were written will be there twice
	Err        error         // why
	Wait       time.Duration // before the next try
}

const defaultDepth = 128

// Stream appends each message to a Redis stream. A message counts as written when the server has answered with the
// entry's id; each reply is looked at, so a message that fails does not touch its neighbours.
//
// While Redis is away, full or loading, the sink tries again until the graph is stopped: it waits, the sources stop
// reading, and nothing is lost or dead-lettered. A message whose reply was lost is written again, so it may be there
// twice (at least once) unless DedupeWindow is set; OnRetry counts them, and in the native format
// the second one says so (flow.Meta.MaybeDuplicate). A message that is too large or cannot be
// encoded is rejected (see flow.Reject). So is a message for which KeyFor chose a key that the
// server refuses, such as a key of another type. Missing rights and a Key of the wrong type stop
// the graph.
//
// In the native format the message's MessageID, Key, Type, ReplyTo, Deadline and Headers travel as
// id, key, type, reply, limit (what is left of the time) and h:* (the header "traceparent" as the
// trace context), and MaybeDuplicate as dup. Values are encoded by the sink's own goroutine, while
// the stages before it work. With Pipelines 1 a sink may be given flow.Workers and flow.KeyedBy to
// write in parallel and keep each key's order.
//
// The client is the caller's: connections are derived from it, and it is never closed.
func Stream[T any](rdb redis.UniversalClient, cfg StreamConfig[T], opts ...flow.StageOption) flow.Sink[T] {
	wc := redisio.WriterConfig{Key: cfg.Key, MaxLen: cfg.MaxLen, MinID: cfg.MinID, MaxAge: cfg.MaxAge, Exact: cfg.Exact,
		DropUnread: cfg.DropUnread, HardCap: cfg.HardCap, WhenFull: cfg.WhenFull, MaxBytes: cfg.MaxBytes, DedupeWindow: cfg.DedupeWindow, DedupeIDs: cfg.DedupeIDs,
		OnlyExisting: cfg.OnlyExisting, Together: cfg.Together, Durability: cfg.Durability, MaxPayload: cfg.MaxPayload, Depth: cfg.Depth, Pipelines: cfg.Pipelines, Wait: cfg.Wait}
	base := cfg.mistakes(rdb, wc.Validate())
	if wc.Depth <= 0 {
		wc.Depth = defaultDepth
	}
	base = append(base, flow.ChunkSize(wc.Depth), flow.Async())
	if wc.Pipelines > 1 {
		base = append(base, flow.Workers(wc.Pipelines), flow.Unordered())
	}
	wc.Pipelines = 1 // each worker has a Writer, and a connection, of its own
	format := redisio.FormatOf(cfg.Codec, cfg.Format)
	return flow.NewSink("stream", func() flow.Writer[T] {
		s := &streamWriter[T]{cfg: &cfg, rdb: rdb, format: format}
		own := wc
		own.OnEvent = s.event
		s.w, s.err = redisio.NewWriter(rdb, own)
		return s
	}, append(base, opts...)...)
}

// mistakes are what Validate reports.
func (c *StreamConfig[T]) mistakes(rdb redis.UniversalClient, err error) (wrong []flow.StageOption) {
	add := func(field, issue, fix string) { wrong = append(wrong, flow.Invalid(field, issue, fix)) }
	if redisio.IsNilClient(rdb) {
		add("rdb", "the Redis client is nil", "pass one, see redisio.Connect")
	}
	if c.Key == "" && c.KeyFor == nil {
		add("Key", "is empty", "name the stream to write to, or set KeyFor")
	}
	if c.Codec != nil && c.Format != nil {
		add("Format", "is set beside Codec", "choose one: a format has a codec of its own")
	}
	if c.DedupeWindow == 0 && c.IDFor != nil {
		add("IDFor", "is set without DedupeWindow", "set DedupeWindow, or leave it out")
	}
	if c.DedupeWindow == 0 && (c.Durability.Replicas > 0 || c.Durability.Fsync) {
		add("Durability", "is set without DedupeWindow", "set DedupeWindow: what is not confirmed is written again")
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
		of(redisio.ScheduleConfig{Key: c.Key, MaxPayload: c.MaxPayload}.Validate())
	}
	return wrong
}
