package flow

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Limits of a thinned log: lines with the same text and stage, in a window of time.
const (
	thinLines  = 30
	thinWindow = 10 * time.Second
	thinTexts  = 1000 // texts that are remembered
)

// Thinned returns a logger that bounds repeated warnings and errors, which outsiders may be able to
// cause: of lines with the same text and "stage" it passes on 30 in 10 seconds. The next line after
// that tells in the attribute "suppressed" how many were left out. Lines below slog.LevelWarn pass.
// Graphs, services, gateways and hubs thin their logs by themselves. nil is the default of [Logger].
func Thinned(l *slog.Logger) *slog.Logger {
	if l == nil {
		l = Logger(context.Background())
	}
	if _, is := l.Handler().(thinned); is {
		return l
	}
	return slog.New(thinned{l.Handler(), &thinner{seen: make(map[thinKey]*thinState)}})
}

// thinned is the handler of Thinned. Those derived from it count together.
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
	since      time.Time // when the window began
	lines      int       // in this window
	suppressed int       // not yet told
}

// count reports whether a line may pass, and how many did not since the last that did.
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
