package source

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// events logs the events of a reader and passes them to the caller's hook.
type events struct {
	logger atomic.Pointer[slog.Logger]
}

// log stores the graph's logger, which the context carries.
func (e *events) log(ctx context.Context) { e.logger.Store(flow.Logger(ctx)) }

// tell returns the hook for a reader.
func (e *events) tell(hook func(redisio.Event)) func(redisio.Event) {
	return func(ev redisio.Event) {
		if l := e.logger.Load(); l != nil {
			write(l, ev)
		}
		if hook != nil {
			hook(ev)
		}
	}
}

func write(l *slog.Logger, ev redisio.Event) {
	level := slog.LevelWarn
	switch ev.Kind {
	case redisio.EventReconnected, redisio.EventReclaimed, redisio.EventReaped:
		level = slog.LevelInfo
	case redisio.EventRecovered, redisio.EventStaleAcks:
		level = slog.LevelDebug
	}
	attrs := []any{"key", ev.Key}
	if ev.Count > 0 {
		attrs = append(attrs, "entries", ev.Count)
	}
	if ev.Position != "" {
		attrs = append(attrs, "position", ev.Position)
	}
	if ev.StreamGone {
		attrs = append(attrs, "stream_gone", true) // unread entries are lost
	}
	if ev.Err != nil {
		attrs = append(attrs, "error", ev.Err)
	}
	l.Log(context.Background(), level, "stream: "+ev.Kind.String(), attrs...)
}
