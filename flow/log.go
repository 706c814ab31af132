package flow

import (
	"context"
	"log/slog"
)

// Log sets the graph's logger. Start and end are logged at Info, faults at Warn, retries at Debug.
// Without Log, or with nil, warnings and errors go to the logger that [Logger] describes. A logger
// with slog.DiscardHandler silences the graph. Other logging libraries connect through slog
// handlers, such as zerolog.NewSlogHandler and zapslog.
func Log(l *slog.Logger) GraphOption { return graphOption(func(c *graphConfig) { c.log = l }) }

// Logger returns the logger of the graph that ctx belongs to. Handlers, Readers and Writers receive
// such contexts. For any other context it returns the default: the warnings and errors of
// slog.Default, which writes to stderr unless the program has set another logger.
func Logger(ctx context.Context) *slog.Logger {
	if l, ok := ctx.Value(loggerKey{}).(*slog.Logger); ok {
		return l
	}
	return slog.New(warnings{slog.Default().Handler()})
}

// loggerKey is the context key of the graph's logger.
type loggerKey struct{}

func withLogger(ctx context.Context, l *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, l)
}

// warnings passes on only warnings and errors.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs)}
}

func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }
