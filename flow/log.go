package flow

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
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

// logFault logs the decision about a fault: retries at Debug, the end of a message at Warn.
func (r *Running) logFault(f *Fault, d Decision) {
	level := slog.LevelWarn
	if d.Do == ActRetry {
		level = slog.LevelDebug
	}
	if !r.log.Enabled(r.hard, level) {
		return
	}
	attrs := []any{"stage", f.Stage, "id", f.Meta.ID, "tries", f.Tries, "attempt", f.Meta.Attempt,
		"do", d.Do.String(), "after", d.After.String(), "error", f.Err}
	var p *PanicError
	if d.Do != ActRetry && errors.As(f.Err, &p) {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	r.log.Log(r.hard, level, "message failed", attrs...)
}

// EventKind is a kind of Event.
type EventKind string

const (
	// EventStarted is the start of the graph.
	EventStarted EventKind = "started"
	// EventFault is a failed message.
	EventFault EventKind = "fault"
	// EventRestart means that a stage has failed and its region is restarted.
	EventRestart EventKind = "restart"
	// EventPaused and EventResumed are calls of Running.Pause and Running.Resume.
	EventPaused  EventKind = "paused"
	EventResumed EventKind = "resumed"
	// EventDraining means that the sources have stopped reading.
	EventDraining EventKind = "draining"
	// EventStopping means that an error stops the graph.
	EventStopping EventKind = "stopping"
	// EventEnded is the end of the graph, with the error that Wait returns.
	EventEnded EventKind = "ended"
)

const (
	maxEventText  = 1 << 10 // bytes of an error that an Event keeps
	recentFaults  = 64
	recentChanges = 64
)

// Event is a failed message of a running graph, or a change in the graph's life. Fields that do not
// apply are zero.
type Event struct {
	Time  time.Time     `json:"time"`
	Kind  EventKind     `json:"kind"`
	Stage string        `json:"stage,omitempty"`
	ID    string        `json:"id,omitempty"`    // of the message's entry
	Tries int           `json:"tries,omitempty"` // of a fault: see Fault; of a restart: its number
	Do    string        `json:"do,omitempty"`    // what is done about a fault: the name of its Action
	After time.Duration `json:"after,omitempty"` // the wait before a retry, a redelivery or a restart
	Error string        `json:"error,omitempty"` // the first 1 KiB
}

// recent holds the last events of a run. Faults and changes are bounded separately, so that many
// faults leave the changes.
type recent struct {
	mu      sync.Mutex
	faults  []Event
	changes []Event
}

// Recent returns the last 64 faults and the last 64 changes in the life of the graph, oldest first.
// A message that is retried at a stage is one fault there: its latest.
func (r *Running) Recent() []Event {
	r.recent.mu.Lock()
	all := slices.Concat(r.recent.changes, r.recent.faults)
	r.recent.mu.Unlock()
	slices.SortStableFunc(all, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return all
}

// changed records a change in the life of the graph.
func (r *recent) changed(e Event, err error) {
	e.Time, e.Error = time.Now(), textOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = pushed(r.changes, e, recentChanges)
}

// faulted records a fault. It replaces the retry that the same message had before.
func (r *recent) faulted(f *Fault, d Decision) {
	e := Event{
		Time: time.Now(), Kind: EventFault, Stage: f.Stage, ID: f.Meta.ID, Tries: f.Tries,
		Do: d.Do.String(), After: d.After, Error: textOf(f.Err),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Tries > 1 {
		before := slices.IndexFunc(r.faults, func(old Event) bool {
			return old.Stage == e.Stage && old.ID == e.ID && old.Tries == e.Tries-1
		})
		if before >= 0 {
			r.faults = slices.Delete(r.faults, before, before+1)
		}
	}
	r.faults = pushed(r.faults, e, recentFaults)
}

// pushed adds an event behind at most n-1 earlier ones.
func pushed(to []Event, e Event, n int) []Event {
	if len(to) >= n {
		to = slices.Delete(to, 0, len(to)-n+1)
	}
	return append(to, e)
}

// textOf returns the beginning of an error's text. An Error method that panics has no other
// consequence.
func textOf(err error) (text string) {
	if err == nil {
		return ""
	}
	defer func() {
		if v := recover(); v != nil {
			text = "the error's text: " + recovered(v).Error()
		}
	}()
	text = strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) > maxEventText {
		text = strings.ToValidUTF8(text[:maxEventText], "") + "…"
	}
	return text
}

// Observer learns of the graphs that start with a context: see WithObserver.
type Observer interface {
	// Started is called by Start, after the graph has started. It must be quick. The graph may end
	// at any time after that: see Running.State and Running.Wait.
	Started(*Running)
}

type observerKey struct{}

// observers is the innermost observer of a context and those around it.
type observers struct {
	Observer
	outer *observers
}

// WithObserver returns a context that tells o of each graph that is started with it, by whatever
// function: Start, Run, RunUntilInterrupt, a Supervisor, a service. Observers that ctx already has
// learn of it too. So metrics and pages see the graphs of a program without being passed around.
func WithObserver(ctx context.Context, o Observer) context.Context {
	outer, _ := ctx.Value(observerKey{}).(*observers)
	return context.WithValue(ctx, observerKey{}, &observers{o, outer})
}

// observed informs the observers of a context that a graph has started.
func observed(ctx context.Context, r *Running) {
	o, _ := ctx.Value(observerKey{}).(*observers)
	for ; o != nil; o = o.outer {
		o.Started(r)
	}
}
