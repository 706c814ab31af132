package source

import (
	"context"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/redisio"
)

// events writes what a reader notices to the graph's log, beside telling the caller's hook.
type events struct {
	logger atomic.Pointer[zerolog.Logger]
}

// log takes the logger of the graph, which the context carries.
func (e *events) log(ctx context.Context) { e.logger.Store(zerolog.Ctx(ctx)) }

// tell returns the hook to give to a reader.
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

func write(l *zerolog.Logger, ev redisio.Event) {
	line := l.Warn()
	switch ev.Kind {
	case redisio.EventReconnected, redisio.EventReclaimed, redisio.EventReaped:
		line = l.Info()
	case redisio.EventRecovered, redisio.EventStaleAcks:
		line = l.Debug()
	}
	line = line.Str("key", ev.Key)
	if ev.Count > 0 {
		line = line.Int("entries", ev.Count)
	}
	if ev.Position != "" {
		line = line.Str("position", ev.Position)
	}
	if ev.StreamGone {
		line = line.Bool("stream_gone", true) // what nobody had read is lost
	}
	if ev.Err != nil {
		line = line.Err(ev.Err)
	}
	line.Msg("stream: " + ev.Kind.String())
}
