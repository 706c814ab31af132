package flow

import (
	"context"
	"log/slog"
)

// Log gives the graph a logger: its life at Info, faults at Warn, retries at Debug. Without one, or
// with nil, warnings and errors go to the logger that [Logger] describes; a logger over
// slog.DiscardHandler silences the graph. Any logging library fits behind slog: zerolog by
// zerolog.NewSlogHandler, zap by zapslog.
func Log(l *slog.Logger) GraphOption { return graphOption(func(c *graphConfig) { c.log = l }) }

// Logger returns the logger of the graph that ctx belongs to. Handlers, Readers and Writers get such contexts. For any
// other context it returns the default: the warnings and errors of slog.Default, which writes to stderr unless the
// program has set another logger.
func Logger(ctx context.Context) *slog.Logger {
	if l, ok := ctx.Value(loggerKey{}).(*slog.Logger); ok {
		return l
	}
	return slog.New(warnings{slog.Default().Handler()})
}

// loggerKey is the key of the graph's logger in contexts.
type loggerKey struct{}

func withLogger(ctx context.Context, l *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, l)
}

// warnings passes on warnings and errors only.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs)}
}

func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }
