package sink

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// StreamConfig configures Stream. Key or KeyFor is required; the zero value of the rest is the default.
type StreamConfig[T any] struct {
	// Key is the Redis key of the stream.
	Key string
	// KeyFor chooses the stream for a message, when not all go to one; "" means Key.
	KeyFor func(flow.Message[T]) string

	// Codec encodes the data of native entries. The default is redisio.DefaultCodec: strings and []byte as they are,
	// everything else JSON.
	Codec redisio.Codec[T]
	// Format encodes whole entries, instead of Codec. The default is redisio.Native, and redisio.Raw for redisio.Fields.
	Format redisio.Format[T]
	// OmitMeta leaves the message's MessageID, Key, Type and Headers out of the entry.
	OmitMeta bool

	// Retention, of one kind at most: MaxLen entries, entries from MinID on, or entries younger than MaxAge. It also drops
	// what no group has read yet; redisio.Trim is the way that does not.
	MaxLen int64
	MinID  string
	MaxAge time.Duration
	// Exact trims to the entry, which costs the server more than the default that frees whole nodes.
	Exact bool

	// MaxPayload bounds the bytes of an entry. A message beyond it is rejected, with a *redisio.TooLargeError, before it is
	// sent. The default is 1 MiB.
	MaxPayload int
	// Pipelines is how many pipelines are in flight. With 1, the default, the order of the messages is kept; with more,
	// chunks overtake each other. Two to four are the fastest.
	Pipelines int
	// Depth is how many messages a pipeline carries at most. The default is 128.
	Depth int

	// Wait is how long to keep trying while Redis is not reachable at the start. By default the graph stops with the error
	// of the first try. Once it has started the sink tries again for as long as it takes.
	Wait time.Duration
	// OnRetry is told of each write that is tried again. It must not block.
	OnRetry func(StreamRetry)
}

// StreamRetry is a write that did not get through and is tried again.
type StreamRetry struct {
	Key        string        // of the config
	NotWritten int           // messages that surely were not written
	Unknown    int           // messages whose reply was lost: those that were written will be there twice
	Err        error         // why
	Wait       time.Duration // before the next try
}

const defaultDepth = 128

// Stream appends each message to a Redis stream. A message counts as written when the server has answered with the
// entry's id; each reply is looked at, so a message that fails does not touch its neighbours.
//
// While Redis is away, full or loading, the sink tries again until the graph is stopped: it waits, the sources stop
// reading, and nothing is lost or dead-lettered. A message whose reply was lost is written again, so it may be there
// twice (at least once); OnRetry counts them. A message that is too large or cannot be encoded is rejected (see
// flow.Reject). A key of the wrong type and missing rights stop the graph.
//
// In the native format the message's MessageID, Key, Type and Headers travel as id, key, type and h:* (the header
// "traceparent" as the trace context). Values are encoded by the sink's own goroutine, while the stages before it work.
// With Pipelines 1 a sink may be given flow.Workers and flow.KeyedBy to write in parallel and keep each key's order.
//
// The client is the caller's: connections are derived from it, and it is never closed.
func Stream[T any](rdb redis.UniversalClient, cfg StreamConfig[T], opts ...flow.StageOption) flow.Sink[T] {
	wc := redisio.WriterConfig{Key: cfg.Key, MaxLen: cfg.MaxLen, MinID: cfg.MinID, MaxAge: cfg.MaxAge, Exact: cfg.Exact,
		MaxPayload: cfg.MaxPayload, Depth: cfg.Depth, Pipelines: cfg.Pipelines, Wait: cfg.Wait}
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
		w, err := redisio.NewWriter(rdb, wc)
		return &streamWriter[T]{cfg: &cfg, w: w, err: err, format: format}
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
	return wrong
}

// streamWriter is the running side of Stream: one pipeline.
type streamWriter[T any] struct {
	cfg    *StreamConfig[T]
	w      *redisio.Writer
	err    error // of the configuration
	format redisio.Format[T]

	// The chunk at hand, encoded. Entry out[i] is message at[i] of the chunk.
	out     []redisio.Outgoing
	at      []int
	results []redisio.Result
	fields  redisio.Fields
	buf     []byte
	env     redisio.Envelope
	errs    []error // of the messages of the chunk; nil while there are none
}

// Open connects. That Redis is not there is final: waiting for it is what Wait is for.
func (s *streamWriter[T]) Open(ctx context.Context) error {
	if s.err == nil {
		s.err = s.w.Open(ctx)
	}
	if s.err != nil && ctx.Err() == nil {
		return flow.Permanent(s.err)
	}
	return s.err
}

func (s *streamWriter[T]) Close(ctx context.Context) error {
	if s.w == nil {
		return nil
	}
	return s.w.Close(ctx)
}

// Write encodes a chunk and writes it, and again what of it did not get through, in order, until all is settled.
func (s *streamWriter[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	s.encode(chunk)
	defer s.reset()
	wait := backoff.ExponentialBackOff{InitialInterval: 20 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2,
		MaxInterval: 5 * time.Second}
	for tries := 0; len(s.out) > 0; {
		err := s.w.Write(ctx, s.out, s.results)
		if err == nil {
			break
		}
		retry := StreamRetry{Key: s.cfg.Key, Err: err, Wait: wait.NextBackOff()}
		if !s.unwritten(ctx, chunk, &retry) {
			break
		}
		if tries++; tries == 1 || tries%10 == 0 {
			zerolog.Ctx(ctx).Warn().Str("key", retry.Key).Int("not_written", retry.NotWritten).Int("unknown", retry.Unknown).
				Int("tries", tries).Err(retry.Err).Msg("stream: writing failed, will try again")
		}
		s.tell(retry)
		if !pause(ctx, retry.Wait) {
			for _, at := range s.at {
				s.fail(chunk, at, errors.Join(context.Cause(ctx), err))
			}
			break
		}
	}
	if s.errs != nil {
		return &flow.WriteError{Errs: s.errs}
	}
	return nil
}

// unwritten keeps what is to be tried again, and reports whether to try.
func (s *streamWriter[T]) unwritten(ctx context.Context, chunk []flow.Message[T], retry *StreamRetry) bool {
	again, stop := 0, ctx.Err() != nil
	for i := range s.out {
		err := s.results[i].Err
		var large *redisio.TooLargeError
		switch {
		case err == nil:
			continue
		case errors.As(err, &large):
			s.fail(chunk, s.at[i], flow.Reject(err))
			continue
		case redisio.IsPermanent(err):
			s.fail(chunk, s.at[i], flow.Permanent(err))
			stop = true
			continue
		case errors.Is(err, redisio.ErrUnknownOutcome):
			retry.Unknown++
		default:
			retry.NotWritten++
		}
		retry.Err = err
		s.out[again], s.at[again], s.results[again] = s.out[i], s.at[i], s.results[i]
		again++
	}
	s.out, s.at = s.out[:again], s.at[:again]
	if stop {
		for i, at := range s.at {
			s.fail(chunk, at, s.results[i].Err)
		}
	}
	return again > 0 && !stop
}

func (s *streamWriter[T]) fail(chunk []flow.Message[T], at int, err error) {
	if s.errs == nil {
		s.errs = make([]error, len(chunk))
	}
	s.errs[at] = err
}

// encode fills out with what of the chunk can be encoded.
func (s *streamWriter[T]) encode(chunk []flow.Message[T]) {
	for i := range chunk {
		from := len(s.fields)
		key, err := s.encodeOne(&chunk[i])
		if err == nil && len(s.fields) == from {
			err = errors.New("redisio: the format made an entry without fields: Redis takes none")
		}
		if err == nil && key == "" && s.cfg.Key == "" {
			err = errors.New("sink: KeyFor names no stream and there is no Key")
		}
		if err != nil {
			s.fields = s.fields[:from]
			s.fail(chunk, i, flow.Reject(err))
			continue
		}
		s.out = append(s.out, redisio.Outgoing{Key: key, Fields: s.fields[from:len(s.fields):len(s.fields)]})
		s.at = append(s.at, i)
	}
	if cap(s.results) < len(s.out) {
		s.results = make([]redisio.Result, len(chunk))
	}
	s.results = s.results[:len(s.out)]
}

// encodeOne makes a panic of a format, codec or KeyFor a failure of the message at hand.
func (s *streamWriter[T]) encodeOne(m *flow.Message[T]) (key string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &flow.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	if s.cfg.KeyFor != nil {
		key = s.cfg.KeyFor(*m)
	}
	s.env = redisio.Envelope{Headers: s.env.Headers[:0]}
	if !s.cfg.OmitMeta {
		s.envelope(m.Meta())
	}
	s.fields, s.buf, err = s.format.Encode(s.fields, s.buf, &s.env, m.Value)
	return key, err
}

func (s *streamWriter[T]) envelope(m flow.Meta) {
	s.env.ID, s.env.Key, s.env.Type = m.MessageID, m.Key, m.Type
	for _, h := range m.Headers {
		if h.Name == traceparent && s.env.Traceparent == "" {
			s.env.Traceparent = h.Value
			continue
		}
		s.env.Headers = append(s.env.Headers, redisio.Header(h))
	}
}

// traceparent is the header that travels as the trace context of an entry.
const traceparent = "traceparent"

// maxKept is how large a buffer is kept for the next chunk.
const maxKept = 4 << 20

func (s *streamWriter[T]) reset() {
	clear(s.out)
	clear(s.fields)
	s.out, s.at, s.fields, s.buf, s.errs = s.out[:0], s.at[:0], s.fields[:0], s.buf[:0], nil
	if cap(s.buf) > maxKept {
		s.buf = nil
	}
}

// tell calls the hook; a panic in it is not the messages' fault.
func (s *streamWriter[T]) tell(r StreamRetry) {
	if s.cfg.OnRetry == nil {
		return
	}
	defer func() { _ = recover() }()
	s.cfg.OnRetry(r)
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
