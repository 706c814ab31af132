package sink

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/redisio"
)

// streamCounts are what only the writer knows. Any goroutine reads them.
type streamCounts struct {
	retries, notWritten, unknown, trimFailures, heldBack atomic.Uint64
}

// Counts reports what the writer did, see flow.Counter.
func (s *streamWriter[T]) Counts(add func(name string, n uint64)) {
	did, c := s.w.Stats(), &s.counts
	add("duplicates", uint64(did.Duplicates))
	add("trimmed", uint64(did.Trimmed))
	add("trimmed_unread", uint64(did.Lost))
	add("trim_failures", c.trimFailures.Load())
	add("held_back", c.heldBack.Load())
	add("write_retries", c.retries.Load())
	add("retried_not_written", c.notWritten.Load())
	add("retried_unknown", c.unknown.Load())
}

// tell calls the hook. A panic in it does not fail the messages.
func (s *streamWriter[T]) tell(r StreamRetry) {
	s.counts.retries.Add(1)
	s.counts.notWritten.Add(uint64(r.NotWritten))
	s.counts.unknown.Add(uint64(r.Unknown))
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
	switch e.Kind {
	case redisio.EventTrimFailed:
		s.counts.trimFailures.Add(1)
	case redisio.EventHeldBack:
		s.counts.heldBack.Add(1)
	}
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
