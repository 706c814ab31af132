package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/bodies"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
)

// HTTPConfig configures Queue.HTTP. The zero value is the default.
type HTTPConfig[T any] struct {
	// Submit returns the options of a job that a request submits, such as its Priority, Key and Owner.
	// An error is answered as Authorize's is. Defaults to the priority of the query, ?priority=high,
	// and to the ID of the header Idempotency-Key, so that a repeated POST is one job. An ID or a Key
	// of a job that the request may not see is answered with 409.
	Submit func(r *http.Request, v T) ([]SubmitOption, error)
	// Authorize decides whether a request may see or cancel a job. A *gateways.RemoteError is answered
	// with its code; any other error with 404, so that it tells nothing of the job. Defaults to nil:
	// every caller that knows an ID may. IDs cannot be guessed, apart from those that callers
	// choose. The answer has the error of the last failure.
	Authorize func(r *http.Request, j Job) error
	// List lets GET without an ID list the newest jobs, and follow all of them as events, without their
	// results: those that Authorize admits. Defaults to false.
	List bool
	// MaxWait is the longest long-poll. Defaults to 1m.
	MaxWait time.Duration
	// Heartbeat is how long events may be silent. Defaults to 15s.
	Heartbeat time.Duration
	// MaxWatchers limits the requests that wait or receive events at the same time. Further ones are
	// answered with 503. Defaults to 10,000.
	MaxWatchers int
}

// HTTP returns a handler for the jobs of the queue. Mount it twice, with and without an ID:
//
//	h := q.HTTP(jobs.HTTPConfig[Picture]{})
//	mux.Handle("/jobs", h)
//	mux.Handle("/jobs/{id}", h)
//
// It answers:
//
//	POST /jobs           submits the body, as JSON: 202 with Location and the job; 200 if the job existed
//	GET /jobs/ID         the state of the job, with an ETag; 304 for If-None-Match
//	GET /jobs/ID?wait=9s the next state after that of If-None-Match, or after now; 304 if there is none
//	GET /jobs/ID         with Accept: text/event-stream: each state as an event "job", until the end
//	DELETE /jobs/ID      cancels the job: 200 with its state; 409 if it has ended before
//	GET /jobs            with List: the newest jobs, or events of all jobs; without results
//
// Failures are JSON as in package web: 404 for an unknown job, 410 for an expired one, 413 for a body
// of more than MaxPayload bytes, 503 for a full queue. Requests of pages of other origins that change
// something are refused with 403.
func (q *Queue[T, R]) HTTP(cfg HTTPConfig[T]) http.Handler {
	cfg.MaxWait = cmp.Or(cfg.MaxWait, time.Minute)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 15*time.Second)
	cfg.MaxWatchers = cmp.Or(cfg.MaxWatchers, 10_000)
	return &handler[T, R]{q: q, cfg: cfg}
}

type handler[T, R any] struct {
	q        *Queue[T, R]
	cfg      HTTPConfig[T]
	origin   http.CrossOriginProtection
	watchers atomic.Int64
}

func (h *handler[T, R]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil {
		if !problem.LogPanic(h.q.cfg.Log, err, "jobs: callback panicked", "path", problem.LogPath(r)) &&
			r.Context().Err() == nil {
			h.q.cfg.Log.Info("jobs: refused", "path", problem.LogPath(r), "error", err)
		}
		answer(err).Write(w)
	}
}

// serve returns an error only before anything has been written.
func (h *handler[T, R]) serve(w http.ResponseWriter, r *http.Request) error {
	if h.q.err != nil {
		h.q.cfg.Log.Error("jobs: handler misconfigured", "error", h.q.err)
		return problem.New(gateways.CodeInternal, "route misconfigured: see the server's log")
	}
	if err := h.origin.Check(r); err != nil {
		return fmt.Errorf("%w: %w", problem.New(gateways.CodeForbidden, "cross-origin request refused"), err)
	}
	id := r.PathValue("id")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case id == "" && r.Method == http.MethodPost:
		return h.post(w, r)
	case id == "" && h.cfg.List && reads:
		return h.list(w, r)
	case id != "" && reads:
		return h.get(w, r, id)
	case id != "" && r.Method == http.MethodDelete:
		return h.delete(w, r, id)
	}
	allow := "GET, HEAD, DELETE"
	if id == "" {
		allow = "POST"
		if h.cfg.List {
			allow = "GET, HEAD, POST"
		}
	}
	w.Header().Set("Allow", allow)
	return problem.Error{Status: http.StatusMethodNotAllowed, Code: gateways.CodeInvalid,
		Message: "method not allowed: use " + allow}
}

func (h *handler[T, R]) post(w http.ResponseWriter, r *http.Request) error {
	var body bodies.Body
	defer body.Release()
	if err := body.Read(w, r, int64(h.q.cfg.MaxPayload)); err != nil {
		return err
	}
	ct := r.Header.Get("Content-Type")
	if want := h.q.codec.ContentType(); want == "application/json" && ct != "" && !wire.IsJSON(ct) {
		return problem.New(gateways.CodeUnsupported, "unsupported content type: send application/json")
	}
	v, err := wire.DecodeBody(h.q.codec, body.Bytes, ct)
	if err != nil {
		return fmt.Errorf("%w: %w", problem.New(gateways.CodeInvalid, "request body invalid"), err)
	}
	opts, err := problem.Decide(problem.New(gateways.CodeForbidden, "forbidden"),
		func() ([]SubmitOption, error) { return h.options(r, v) })
	if err != nil {
		return err
	}
	id, created, err := h.q.Submit(r.Context(), v, opts...)
	if err != nil {
		return err
	}
	j, err := h.q.Get(r.Context(), id)
	if err != nil {
		return err
	}
	status := http.StatusAccepted
	if !created {
		status = http.StatusOK
		if h.admit(r, j) != nil {
			return taken
		}
	}
	w.Header().Set("Location", location(r, id))
	return reply(w, status, j)
}

// location returns the path of a job that a request has submitted, with what http.StripPrefix removed.
func location(r *http.Request, id string) string {
	path := r.URL.EscapedPath()
	if asked, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = asked.EscapedPath()
	}
	return "/" + strings.TrimPrefix(strings.Trim(path, "/")+"/"+id, "/")
}

func (h *handler[T, R]) options(r *http.Request, v T) (opts []SubmitOption, err error) {
	if h.cfg.Submit != nil {
		return h.cfg.Submit(r, v)
	}
	if p := r.URL.Query().Get("priority"); p != "" {
		opts = append(opts, Priority(p))
	}
	if id := strings.Trim(r.Header.Get("Idempotency-Key"), `"`); id != "" { // some clients send it in quotes
		opts = append(opts, ID(id))
	}
	return opts, nil
}

// find returns a job that the request may see.
func (h *handler[T, R]) find(r *http.Request, id string) (Job, error) {
	j, err := h.q.Get(r.Context(), id)
	if err != nil {
		return j, err
	}
	return j, h.admit(r, j)
}

func (h *handler[T, R]) admit(r *http.Request, j Job) error {
	if h.cfg.Authorize == nil {
		return nil
	}
	_, err := problem.Decide(missing, func() (struct{}, error) { return struct{}{}, h.cfg.Authorize(r, j) })
	return err
}

func (h *handler[T, R]) get(w http.ResponseWriter, r *http.Request, id string) error {
	j, err := h.find(r, id)
	if err != nil {
		return err
	}
	if wantsEvents(r) {
		return h.events(w, r, j)
	}
	wait, err := h.wait(r)
	if err != nil {
		return err
	}
	known := j.Version
	if tag := r.Header.Get("If-None-Match"); tag != "" {
		known = tagged(tag)
	}
	if wait > 0 && j.Version == known && !j.State.Ended() {
		untimed(http.NewResponseController(w))
		if j, err = h.next(r, j, wait); err != nil {
			return err
		}
	}
	w.Header().Set("ETag", tagOf(j))
	w.Header().Set("Vary", "Accept")
	if r.Header.Get("If-None-Match") != "" && j.Version == known || wait > 0 && !j.State.Ended() && j.Version == known {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return reply(w, http.StatusOK, j)
}

// next waits for the state after j, and returns j if no newer state comes in time.
func (h *handler[T, R]) next(r *http.Request, j Job, wait time.Duration) (Job, error) {
	if !h.enter() {
		return j, busy
	}
	defer h.watchers.Add(-1)
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	for next, err := range h.q.Watch(ctx, j.ID) {
		switch {
		case ctx.Err() != nil:
			return j, r.Context().Err()
		case err != nil:
			return j, err
		case next.Version > j.Version:
			return next, nil
		}
	}
	return j, r.Context().Err()
}

// wait returns how long the request waits: a duration such as 10s, or a number of seconds.
func (h *handler[T, R]) wait(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return 0, problem.Fieldf("wait", "wait is not a duration such as 10s")
		}
		d = time.Duration(n) * time.Second
	}
	return min(max(d, 0), h.cfg.MaxWait), nil
}

func (h *handler[T, R]) enter() bool {
	if h.watchers.Add(1) <= int64(h.cfg.MaxWatchers) {
		return true
	}
	h.watchers.Add(-1)
	return false
}

func (h *handler[T, R]) delete(w http.ResponseWriter, r *http.Request, id string) error {
	if _, err := h.find(r, id); err != nil {
		return err
	}
	if err := h.q.Cancel(r.Context(), id); err != nil {
		return err
	}
	j, err := h.q.Get(r.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, j)
}

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("jobs: encode the answer: %w", err)
	}
	if j, ok := v.(Job); ok {
		w.Header().Set("ETag", tagOf(j))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller may have disconnected
	return nil
}

func tagOf(j Job) string { return `"` + strconv.FormatInt(j.Version, 10) + `"` }

// tagged returns the version in If-None-Match, -1 for another tag.
func tagged(tag string) int64 {
	n, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// untimed frees an answer that waits from the deadlines of the server, if it supports that.
func untimed(rc *http.ResponseController) {
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
}

var (
	taken   = problem.New(gateways.CodeConflict, "another caller has a job with this ID or key")
	missing = problem.New(gateways.CodeNotFound, "no such job")
	busy    = problem.New(gateways.CodeOverloaded, "too many watchers: retry later")
)

// answer returns the answer to an error.
func answer(err error) problem.Error {
	var large *TooLargeError
	var ended *EndedError
	switch {
	case errors.Is(err, ErrExpired):
		return problem.Error{Status: http.StatusGone, Code: gateways.CodeNotFound, Message: "the job has expired"}
	case errors.Is(err, ErrUnknown):
		return missing
	case errors.As(err, &large):
		return problem.New(gateways.CodeTooLarge, "request body too large")
	case errors.As(err, &ended):
		return problem.New(gateways.CodeConflict, "the job has ended before: it is "+string(ended.State))
	case errors.Is(err, ErrFull):
		return problem.New(gateways.CodeOverloaded, "too many jobs wait: retry later")
	case errors.Is(err, ErrPriority):
		return problem.Fieldf("priority", "no such priority")
	case errors.Is(err, ErrID):
		return problem.Fieldf("id", "invalid ID: use 1 to 100 letters, digits and -_.:")
	}
	return problem.Of(err)
}
