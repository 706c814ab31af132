package scale

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// Config configures a Handler. Targets is required; the zero value of each other field selects its
// default.
type Config struct {
	// Targets are the graphs and services to scale, by name. A graph has the streams and groups of
	// its sources, a service has its topic and group. Requests can ask for these only.
	Targets map[string][]Stream
	// Max is the largest backlog of an answer. Defaults to 1 hour.
	Max time.Duration
	// Timeout is how long an answer may take. Defaults to 2s. KEDA waits 3s.
	Timeout time.Duration
	// Log receives faults. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

// Stream is a stream and the group that reads it.
type Stream struct {
	Key   string `json:"key"`
	Group string `json:"group"`
}

// Handler answers with the backlog of a target. It is an http.Handler for GET and HEAD. The
// parameter target names the target; with only one it may be left out.
type Handler struct {
	cfg  Config
	rdb  redis.UniversalClient
	err  error // of the configuration
	busy map[string]chan struct{}
}

const (
	defaultMax     = time.Hour
	defaultTimeout = 2 * time.Second
)

// New makes a handler. It does no I/O. Mistakes in its arguments are reported by Validate, and each
// request is answered with 500.
func New(rdb redis.UniversalClient, cfg Config) *Handler {
	m := redisio.MistakesOf("scale.Config")
	m.Client(rdb)
	m.If(len(cfg.Targets) == 0, "Targets", "is empty", "name what is scaled, and the streams it reads")
	m.Negative("Max", int64(cfg.Max), "leave it 0 for 1 hour")
	m.Negative("Timeout", int64(cfg.Timeout), "leave it 0 for 2 seconds")
	h := &Handler{cfg: cfg, rdb: rdb, busy: make(map[string]chan struct{})}
	h.cfg.Targets = maps.Clone(cfg.Targets)
	for name, streams := range h.cfg.Targets {
		field := fmt.Sprintf("Targets[%q]", name)
		m.If(len(streams) == 0, field, "has no streams", "name the streams and groups of its sources")
		for _, s := range streams {
			m.If(s.Key == "" || s.Group == "", field, "lacks a Key or a Group", "name both")
			m.If(
				s.Key != "" && rateKey(s) == "",
				field,
				fmt.Sprintf("has the key %q, which shares its slot with no other", s.Key),
				"give the key a hash tag, such as {orders}",
			)
		}
		h.cfg.Targets[name] = slices.Clone(streams)
		h.busy[name] = make(chan struct{}, 1)
	}
	h.err = m.Err()
	h.cfg.Max = cmp.Or(cfg.Max, defaultMax)
	h.cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	h.cfg.Log = flow.Thinned(cfg.Log)
	return h
}

// Validate reports all mistakes in the arguments of New. It needs no server.
func (h *Handler) Validate() error { return h.err }

// Backlog is how far a target is behind.
type Backlog struct {
	Target  string          `json:"target"`
	Seconds float64         `json:"backlog_seconds"` // of the slowest stream
	Streams []StreamBacklog `json:"streams"`
}

// StreamBacklog is how far a group of a stream is behind.
type StreamBacklog struct {
	Stream
	Seconds float64 `json:"backlog_seconds"`
	Lag     int64   `json:"lag"`     // entries not read yet
	Pending int64   `json:"pending"` // entries read and not settled
	AtLeast bool    `json:"lag_at_least,omitempty"`
	Age     float64 `json:"unread_age_seconds"`  // of the oldest entry not read yet
	Rate    float64 `json:"settled_per_second"`  // as learned; 0: unknown
	Missing string  `json:"missing,omitempty"`   // "stream" or "group"
	Note    string  `json:"rate_note,omitempty"` // why the rate can't be kept
}

var (
	// ErrNoTarget: the handler has no target of this name.
	ErrNoTarget = errors.New("scale: no such target")
	// ErrBusy: an earlier question for the target has not been answered yet, because Redis hangs.
	ErrBusy = errors.New("scale: Redis has not answered the last question")
)

// Ask returns the backlog of a target. It returns after Timeout at the latest.
func (h *Handler) Ask(ctx context.Context, target string) (Backlog, error) {
	if h.err != nil {
		return Backlog{}, h.err
	}
	streams, ok := h.cfg.Targets[target]
	if !ok {
		return Backlog{}, fmt.Errorf("%w: %q", ErrNoTarget, target)
	}
	select {
	case h.busy[target] <- struct{}{}:
	default:
		return Backlog{}, ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	var b Backlog
	done := flow.Aside(func() (err error) { // clients may ignore the context while a server hangs
		defer func() { <-h.busy[target] }()
		b, err = h.ask(ctx, target, streams)
		return err
	})
	select {
	case err := <-done:
		return b, err
	case <-ctx.Done():
		return Backlog{}, fmt.Errorf("scale: ask Redis for %q: %w", target, context.Cause(ctx))
	}
}

func (h *Handler) ask(ctx context.Context, target string, streams []Stream) (Backlog, error) {
	b := Backlog{Target: target}
	for _, s := range streams {
		one, err := h.look(ctx, s)
		if err != nil {
			return Backlog{}, fmt.Errorf("scale: group %q of %q: %w", s.Group, s.Key, err)
		}
		b.Seconds = max(b.Seconds, one.Seconds)
		b.Streams = append(b.Streams, one)
	}
	return b, nil
}

// ServeHTTP answers with a Backlog as JSON.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, map[string]string{"error": "use GET"})
		return
	}
	target := r.URL.Query().Get("target")
	if target == "" && len(h.cfg.Targets) == 1 {
		for only := range h.cfg.Targets {
			target = only
		}
	}
	b, err := h.Ask(r.Context(), target)
	switch {
	case err == nil:
		answer(w, http.StatusOK, b)
	case errors.Is(err, ErrNoTarget):
		answer(w, http.StatusNotFound, map[string]any{"error": "no such target: name one of targets",
			"targets": slices.Sorted(maps.Keys(h.cfg.Targets))})
	case h.err != nil:
		h.cfg.Log.Error("scale: invalid configuration", "error", err)
		answer(w, http.StatusInternalServerError, map[string]string{"error": "invalid configuration: see the log"})
	case r.Context().Err() != nil: // the caller has left
	default:
		h.cfg.Log.Warn("scale: no answer", "target", target, "error", err)
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": "backlog is unknown: see the log"})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller may have left
}
