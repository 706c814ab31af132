package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// streamWriter is the running part of Stream: one pipeline.
type streamWriter[T any] struct {
	cfg    *StreamConfig[T]
	rdb    redis.UniversalClient
	w      *writer.Writer
	err    error // of the configuration
	format redisio.Format[T]
	log    *slog.Logger // of the graph; nil before Open

	// The current chunk, encoded: entry out[i] is message now.at[i] of the chunk.
	out    []redisio.Outgoing
	now    batch
	later  []*delayed // scheduled messages, per stream
	fields redisio.Fields
	buf    []byte
	env    redisio.Envelope
	errs   []error // per message of the chunk; nil if none failed
	ids    idMaker
}

// batch is the part of a chunk that is written together, and retried until all of it is settled.
type batch struct {
	at      []int // indices of the messages in the chunk
	unknown []int // those of at whose outcome was once unknown
	results []redisio.Result
}

func (b *batch) fit() {
	if cap(b.results) < len(b.at) {
		b.results = make([]redisio.Result, max(len(b.at), defaultDepth))
	}
	b.results = b.results[:len(b.at)]
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

// Write encodes a chunk and writes it. It retries what failed, in order, until all is settled.
func (s *streamWriter[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	s.encode(chunk)
	defer s.reset()
	s.persist(ctx, chunk, s.cfg.Key, &s.now,
		func() error { return s.w.Write(ctx, s.out, s.now.results) },
		func(i int) string { return s.out[i].Key },
		func(to, from int, unknown bool) {
			s.out[to] = s.out[from]
			if unknown && s.cfg.DedupeWindow == 0 {
				s.mark(&chunk[s.now.at[from]], &s.out[to])
			}
		},
		func(n int) { s.out = s.out[:n] })
	for _, d := range s.later {
		s.persist(ctx, chunk, d.key, &d.batch,
			func() error { return d.to.Schedule(ctx, d.entries, d.results) },
			func(int) string { return d.key },
			func(to, from int, _ bool) { d.entries[to] = d.entries[from] },
			func(n int) { d.entries = d.entries[:n] })
	}
	if s.errs != nil {
		return &flow.WriteError{Errs: s.errs}
	}
	return nil
}

// maxFull is the longest wait between tries while there is no room, because consumers make room all
// the time.
const maxFull = 500 * time.Millisecond

// persist writes a batch until all of it is settled.
func (s *streamWriter[T]) persist(ctx context.Context, chunk []flow.Message[T], key string, b *batch,
	write func() error, to func(int) string, move func(to, from int, unknown bool), cut func(int)) {
	wait := backoff.ExponentialBackOff{InitialInterval: 20 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2,
		MaxInterval: 5 * time.Second}
	for tries := 0; len(b.at) > 0; {
		had := len(b.at)
		err := write()
		if err == nil {
			return
		}
		retry := StreamRetry{Key: key, Err: err}
		if !s.unwritten(ctx, chunk, b, &retry, to, move, cut) {
			return
		}
		if len(b.at) < had { // some were written
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
		if !pause(ctx, retry.Wait) {
			for _, at := range b.at {
				s.fail(chunk, at, errors.Join(context.Cause(ctx), err))
			}
			return
		}
	}
}

// unwritten keeps the messages to be retried, and reports whether to retry. If the server refuses a
// key that KeyFor chose, the message is rejected.
func (s *streamWriter[T]) unwritten(ctx context.Context, chunk []flow.Message[T], b *batch, retry *StreamRetry,
	to func(int) string, move func(to, from int, unknown bool), cut func(int)) bool {
	again, stop := 0, ctx.Err() != nil
	for i := range b.at {
		err := b.results[i].Err
		unknown := errors.Is(err, redisio.ErrUnknownOutcome)
		var full error
		if err != nil && !slices.Contains(b.unknown, b.at[i]) {
			full = s.fullError(chunk[b.at[i]], err)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, redisio.ErrNoStream):
			s.fail(chunk, b.at[i], flow.Skip)
			continue
		case s.refuses(err) && !slices.Contains(b.unknown, b.at[i]): // else it may have been written
			s.fail(chunk, b.at[i], flow.Reject(err))
			continue
		case redisio.IsKeyFault(err) && to(i) != "" && to(i) != s.cfg.Key:
			err = fmt.Errorf("sink: write to %q, the key of this message: %w", to(i), err)
			s.fail(chunk, b.at[i], flow.Reject(err))
			continue
		case redisio.IsPermanent(err):
			s.fail(chunk, b.at[i], flow.Permanent(err))
			stop = true
			continue
		case full != nil:
			s.fail(chunk, b.at[i], full)
			continue
		case unknown:
			retry.Unknown++
			if !slices.Contains(b.unknown, b.at[i]) {
				b.unknown = append(b.unknown, b.at[i])
			}
		default:
			retry.NotWritten++
		}
		retry.Err = err
		move(again, i, unknown)
		b.at[again], b.results[again] = b.at[i], b.results[i]
		again++
	}
	b.at, b.results = b.at[:again], b.results[:again]
	cut(again)
	if stop {
		for i, at := range b.at {
			s.fail(chunk, at, b.results[i].Err)
		}
	}
	return again > 0 && !stop
}

// fullError returns the outcome of a message for which there is no room; nil means that it waits.
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

// maxKept is the largest buffer that is kept for the next chunk.
const maxKept = 4 << 20

func (s *streamWriter[T]) reset() {
	clear(s.out)
	clear(s.fields)
	s.out, s.fields, s.buf, s.errs, s.later = s.out[:0], s.fields[:0], s.buf[:0], nil, nil
	s.now.at, s.now.unknown = s.now.at[:0], nil
	if cap(s.buf) > maxKept {
		s.buf = nil
	}
}

// tell calls the hook. A panic in it does not fail the messages.
func (s *streamWriter[T]) tell(r StreamRetry) {
	if s.cfg.OnRetry == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			slog.Error("sink: callback panicked", "callback", "StreamConfig.OnRetry", "panic", fmt.Sprint(v),
				"stack", string(debug.Stack()))
		}
	}()
	s.cfg.OnRetry(r)
}

// event logs an event of the writer and passes it to the hook. It runs in Write.
func (s *streamWriter[T]) event(e redisio.Event) {
	if s.log != nil {
		attrs := []any{"key", e.Key}
		if e.Group != "" {
			attrs = append(attrs, "group", e.Group)
		}
		if e.Count > 0 {
			attrs = append(attrs, "entries", e.Count)
		}
		if e.Err != nil {
			attrs = append(attrs, "error", e.Err)
		}
		s.log.Warn("stream: "+e.Kind.String(), attrs...)
	}
	if s.cfg.OnEvent != nil {
		s.cfg.OnEvent(e) // the writer recovers its panics
	}
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
