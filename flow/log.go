package flow

import (
	"context"
	"log/slog"
	"sync"
	"time"
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

// Limits of a thinned log: lines with the same text and stage within one time window.
const (
	thinLines  = 30
	thinWindow = 10 * time.Second
	thinTexts  = 1000 // texts that are remembered
)

// Thinned returns a logger that limits repeated warnings and errors, because external input may
// cause them. It passes on 30 lines with the same text and "stage" in 10 seconds. The next line
// after that has the attribute "suppressed" with the number of omitted lines. Lines below
// slog.LevelWarn always pass. Graphs, services, gateways and hubs thin their logs themselves. nil
// means the default of [Logger].
func Thinned(l *slog.Logger) *slog.Logger {
	if l == nil {
		l = Logger(context.Background())
	}
	if _, is := l.Handler().(thinned); is {
		return l
	}
	return slog.New(thinned{l.Handler(), &thinner{seen: make(map[thinKey]*thinState)}})
}

// thinned is the handler of Thinned. Handlers derived from it share its counters.
type thinned struct {
	slog.Handler
	t *thinner
}

func (h thinned) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.Handler.Handle(ctx, r)
	}
	pass, suppressed := h.t.count(&r)
	if !pass {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", suppressed))
	}
	return h.Handler.Handle(ctx, r)
}

func (h thinned) WithAttrs(attrs []slog.Attr) slog.Handler {
	return thinned{h.Handler.WithAttrs(attrs), h.t}
}

func (h thinned) WithGroup(name string) slog.Handler { return thinned{h.Handler.WithGroup(name), h.t} }

// thinner counts lines.
type thinner struct {
	mu   sync.Mutex
	seen map[thinKey]*thinState
}

type thinKey struct{ text, stage string }

type thinState struct {
	since      time.Time // start of the window
	lines      int       // in this window
	suppressed int       // not yet reported
}

// count reports whether a line may pass, and how many lines were suppressed since the last one that
// passed.
func (t *thinner) count(r *slog.Record) (pass bool, suppressed int) {
	key := thinKey{text: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "stage" {
			key.stage = a.Value.String()
		}
		return key.stage == ""
	})
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.seen[key]
	if s == nil {
		if len(t.seen) == thinTexts {
			clear(t.seen)
		}
		s = &thinState{since: now}
		t.seen[key] = s
	}
	if now.Sub(s.since) >= thinWindow {
		s.since, s.lines = now, 0
	}
	if s.lines++; s.lines > thinLines {
		s.suppressed++
		return false, 0
	}
	suppressed, s.suppressed = s.suppressed, 0
	return true, suppressed
}
