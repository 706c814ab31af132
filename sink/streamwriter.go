package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// streamWriter is the running part of Stream: one pipeline.
type streamWriter[T any] struct {
	cfg    *StreamConfig[T]
	w      *writer.Writer
	err    error // of the configuration
	format redisio.Format[T]
	log    *slog.Logger // of the graph; nil before Open

	// The messages of the current chunk that are not settled, encoded.
	out     []redisio.Outgoing
	at      []int // their indices in the chunk
	unknown []int // those of at with an outcome that was once unknown
	results []redisio.Result

	fields redisio.Fields
	buf    []byte
	env    redisio.Envelope
	errs   []error // per message of the chunk; nil if none failed
	ids    idMaker
	spans  []flow.Span // per message of the chunk; nil if it is not traced

	counts streamCounts
}

// Open connects. A failure is permanent, because retries of the first connection are the purpose of
// Wait.
func (s *streamWriter[T]) Open(ctx context.Context) error {
	s.log = flow.Logger(ctx)
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

// Write encodes and writes a chunk, in parts of at most partSize and a message. It retries failed
// messages, in order, until all are settled.
func (s *streamWriter[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	s.errs = nil
	defer s.reset()
	s.trace(ctx, chunk)
	defer s.endSpans()
	for next := 0; next < len(chunk); {
		s.reset()
		next = s.encode(chunk, next)
		s.persist(ctx, chunk)
	}
	if s.errs != nil {
		return &flow.WriteError{Errs: s.errs}
	}
	return nil
}

// maxFull is the longest wait between tries while there is no room. It is short because consumers
// make room continuously.
const maxFull = 500 * time.Millisecond

// persist writes out until all of it is settled.
func (s *streamWriter[T]) persist(ctx context.Context, chunk []flow.Message[T]) {
	wait := backoff.ExponentialBackOff{InitialInterval: 20 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2,
		MaxInterval: 5 * time.Second}
	for tries := 0; len(s.at) > 0; {
		had := len(s.at)
		err := s.w.Write(ctx, s.out, s.results)
		if err == nil {
			return
		}
		retry := StreamRetry{Key: s.cfg.Key, Err: err}
		if !s.unwritten(ctx, chunk, &retry) {
			return
		}
		if len(s.at) < had { // some were written
			wait.Reset()
		}
		retry.Wait = wait.NextBackOff()
		if errors.Is(retry.Err, redisio.ErrBackpressure) {
			retry.Wait = min(retry.Wait, maxFull)
		}
		if tries++; tries == 1 || tries%10 == 0 {
			flow.Logger(ctx).Warn("stream: write failed, retrying", "key", retry.Key,
				"not_written", retry.NotWritten, "unknown", retry.Unknown, "tries", tries, "error", retry.Err)
		}
		s.tell(retry)
		select {
		case <-time.After(retry.Wait):
		case <-ctx.Done():
			for _, at := range s.at {
				s.fail(chunk, at, errors.Join(context.Cause(ctx), err))
			}
			return
		}
	}
}

// unwritten keeps the messages to be retried, and reports whether to retry. If the server refuses a
// key that KeyFor chose, the message is rejected.
func (s *streamWriter[T]) unwritten(ctx context.Context, chunk []flow.Message[T], retry *StreamRetry) bool {
	again, stop := 0, ctx.Err() != nil
	for i, at := range s.at {
		err := s.results[i].Err
		if err == nil {
			continue
		}
		maybe := slices.Contains(s.unknown, at)
		if outcome, ends := s.outcome(chunk[at], s.out[i].Key, err, maybe); outcome != nil {
			s.fail(chunk, at, outcome)
			stop = stop || ends
			continue
		}
		s.out[again], s.at[again], s.results[again] = s.out[i], at, s.results[i]
		if errors.Is(err, redisio.ErrUnknownOutcome) {
			retry.Unknown++
			if !maybe {
				s.unknown = append(s.unknown, at)
			}
			if s.cfg.DedupeWindow == 0 && s.out[again].At.IsZero() {
				s.mark(chunk, at, &s.out[again])
			}
		} else {
			retry.NotWritten++
		}
		if again++; again == 1 { // the others may only have been behind it
			retry.Err = err
		}
	}
	s.out, s.at, s.results = s.out[:again], s.at[:again], s.results[:again]
	if stop {
		for i, at := range s.at {
			s.fail(chunk, at, s.results[i].Err)
		}
	}
	return again > 0 && !stop
}

// outcome returns the final outcome of a message for key after its write failed with err, and
// whether it ends the graph. A nil outcome means that the write is retried. If maybe is set, an
// earlier try may have written the message.
func (s *streamWriter[T]) outcome(m flow.Message[T], key string, err error, maybe bool) (outcome error, ends bool) {
	switch {
	case errors.Is(err, redisio.ErrNoStream):
		return flow.Skip, false
	case s.refuses(err) && !maybe:
		return flow.Reject(err), false
	case redisio.IsKeyFault(err) && key != "" && key != s.cfg.Key:
		return flow.Reject(fmt.Errorf("sink: write to %q, the key of this message: %w", key, err)), false
	case redisio.IsPermanent(err):
		return flow.Permanent(err), true
	case maybe:
		return nil, false
	}
	return s.fullError(m, err), false
}

// fullError returns the outcome of a message that was refused for lack of room; nil means that it
// waits.
func (s *streamWriter[T]) fullError(m flow.Message[T], err error) (answer error) {
	if s.cfg.OnFull == nil || !errors.Is(err, redisio.ErrBackpressure) {
		return nil
	}
	defer func() {
		if recover() != nil { // a panic of the hook must not fail the message
			answer = nil
		}
	}()
	return s.cfg.OnFull(m)
}

// refuses reports whether the message is rejected for err.
func (s *streamWriter[T]) refuses(err error) bool {
	return refused(err) || s.cfg.WhenFull == writer.FullRefuse && errors.Is(err, redisio.ErrBackpressure)
}

// refused reports whether err is a fault of the message, so that a retry would fail as well.
func refused(err error) bool {
	var large *redisio.TooLargeError
	var many *redisio.TooManyFieldsError
	var config *redisio.ConfigError // KeyFor chose a key for which the config is invalid
	var full *writer.StreamFullError
	return errors.As(err, &large) || errors.As(err, &many) || errors.As(err, &config) ||
		errors.As(err, &full) && full.Full == writer.FullRefuse
}

func (s *streamWriter[T]) fail(chunk []flow.Message[T], at int, err error) {
	if s.errs == nil {
		s.errs = make([]error, len(chunk))
	}
	s.errs[at] = err
}

// partSize is how many bytes of a chunk are encoded at a time, so that large messages need no larger
// buffer than small ones. maxKept is the largest buffer that is kept.
const (
	partSize = 2 << 20
	maxKept  = 2 * partSize
)

func (s *streamWriter[T]) reset() {
	clear(s.out)
	clear(s.fields)
	s.out, s.at, s.fields, s.buf = s.out[:0], s.at[:0], s.fields[:0], s.buf[:0]
	s.unknown = nil
	if cap(s.buf) > maxKept {
		s.buf = nil
	}
}

// encode fills out with the next messages of the chunk, and rejects those that cannot be encoded. It
// returns where to go on.
func (s *streamWriter[T]) encode(chunk []flow.Message[T], next int) int {
	var now time.Time
	if s.cfg.At != nil {
		now = time.Now()
	}
	i := next
	for ; i < len(chunk) && (len(s.buf) < partSize || s.cfg.Together); i++ {
		from := len(s.fields)
		o, err := s.encodeOne(chunk, i)
		if err == nil && len(s.fields) == from {
			err = errors.New("sink: the format returned no fields: an entry needs at least one")
		}
		if err == nil && o.Key == "" && s.cfg.Key == "" {
			err = errors.New("sink: KeyFor returned no stream: set Key, or return one")
		}
		if err == nil {
			o.Fields = s.fields[from:len(s.fields):len(s.fields)]
			if s.cfg.DedupeWindow > 0 {
				o.DedupeID = s.ids.of(o.DedupeID, chunk[i].Meta(), o.Fields)
			}
			if !o.At.After(now) {
				o.At = time.Time{}
			}
			s.out, s.at = append(s.out, o), append(s.at, i)
		} else {
			s.fields = s.fields[:from]
			s.fail(chunk, i, flow.Reject(err))
		}
	}
	if cap(s.results) < len(s.at) {
		s.results = make([]redisio.Result, max(len(s.at), defaultDepth))
	}
	s.results = s.results[:len(s.at)]
	return i
}

// encodeOne calls the functions of the config and the format, and returns their panics as an error
// of the message.
func (s *streamWriter[T]) encodeOne(chunk []flow.Message[T], at int) (o redisio.Outgoing, err error) {
	defer flow.Catch(&err)
	m := &chunk[at]
	if s.cfg.KeyFor != nil {
		o.Key = s.cfg.KeyFor(*m)
	}
	if s.cfg.IDFor != nil {
		o.DedupeID = s.cfg.IDFor(*m)
	}
	if s.cfg.At != nil {
		o.At = s.cfg.At(*m)
	}
	return o, s.appendFields(chunk, at, false)
}

// appendFields appends the fields of a message. again marks it as a possible duplicate.
func (s *streamWriter[T]) appendFields(chunk []flow.Message[T], at int, again bool) (err error) {
	m := &chunk[at]
	s.env = redisio.Envelope{Headers: s.env.Headers[:0]}
	if !s.cfg.OmitMeta {
		s.envelope(m.Meta())
		s.inject(at)
	}
	if s.cfg.HeadersFor != nil {
		s.headers(s.cfg.HeadersFor(*m))
	}
	s.env.MaybeDuplicate = s.env.MaybeDuplicate || again
	s.fields, s.buf, err = s.format.Encode(s.fields, s.buf, &s.env, m.Value)
	return err
}

func (s *streamWriter[T]) envelope(m flow.Meta) {
	s.env.ID, s.env.Key, s.env.Type, s.env.MaybeDuplicate = m.MessageID, m.Key, m.Type, m.MaybeDuplicate
	s.env.ReplyTo = m.ReplyTo
	if !m.Deadline.IsZero() { // clocks differ between hosts, so the remaining time is sent
		s.env.Limit = max(time.Until(m.Deadline), time.Millisecond)
	}
	s.headers(m.Headers)
}

func (s *streamWriter[T]) headers(headers flow.Headers) {
	for _, h := range headers {
		if at := traceField(&s.env, h.Name); at != nil && *at == "" {
			*at = h.Value
			continue
		}
		s.env.Headers = append(s.env.Headers, redisio.Header(h))
	}
}

// mark encodes an entry again as a possible duplicate, if its format can. On failure the entry
// stays unchanged.
func (s *streamWriter[T]) mark(chunk []flow.Message[T], at int, o *redisio.Outgoing) {
	from := len(s.fields)
	defer func() {
		if recover() != nil { // the codec panicked, although it encoded this value before
			s.fields = s.fields[:from]
		}
	}()
	err := s.appendFields(chunk, at, true)
	fields := s.fields[from:len(s.fields):len(s.fields)]
	if err != nil || len(fields) == 0 || fields.Size() > s.w.Config().MaxPayload {
		s.fields = s.fields[:from]
		return
	}
	o.Fields = fields
}
