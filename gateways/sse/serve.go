package sse

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
)

// ServeHTTP serves events until the client disconnects or the server stops.
func (g *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.cors.Header(w, r)
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		g.cors.Preflight(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		problem.Error{
			Status:  http.StatusMethodNotAllowed,
			Code:    gateways.CodeInvalid,
			Message: "method not allowed: use GET",
		}.Write(w)
	case r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody:
		problem.StopReading(w)
		problem.New(gateways.CodeInvalid, r.Method+" must not have a body").Write(w)
	case g.err != nil:
		g.cfg.Log.Error("sse: handler misconfigured", "error", g.err)
		problem.New(gateways.CodeInternal, "route misconfigured: see the server's log").Write(w)
	default:
		if err := g.Serve(w, r); err != nil {
			problem.Of(err).Write(w)
		}
	}
}

// Serve returns an error only before anything has been written.
func (g *Handler) Serve(w http.ResponseWriter, r *http.Request) error {
	feed, err := g.feed(r)
	if err != nil {
		if path := problem.LogPath(r); !problem.LogPanic(g.cfg.Log, err, "sse: callback panicked", "path", path) {
			g.cfg.Log.Info("sse: refused", "path", path, "error", err)
		}
		return err
	}
	if feed.Key == "" {
		return problem.New(gateways.CodeNotFound, "no such events")
	}
	if err := g.enter(); err != nil {
		return err
	}
	defer g.Leave()
	out := &eventWriter{w: w, rc: http.NewResponseController(w), timeout: g.cfg.WriteTimeout}
	if r.Method == http.MethodHead {
		out.Header()
		return nil
	}
	l, gap, err := g.listen(r, feed)
	if err != nil {
		return err
	}
	defer l.Close()
	defer out.end()
	out.Header()
	out.text = append(out.text, "retry: "...)
	// sent with the first event: some libraries treat it alone as an event
	out.text = append(strconv.AppendInt(out.text, g.cfg.Retry.Milliseconds(), 10), '\n')
	if gap != nil {
		out.gap(gap, l.Cursor())
	}
	if err := out.flush(); errors.Is(err, http.ErrNotSupported) {
		g.cfg.Log.Error("sse: the http.ResponseWriter can't flush: add a method Unwrap to its wrapper")
		return nil
	} else if err != nil {
		g.broken.Add(1)
		return nil
	}
	if g.send(r.Context(), l, out) != nil {
		g.broken.Add(1)
	}
	return nil
}

// feed identifies the client and chooses what it receives.
func (g *Handler) feed(r *http.Request) (Feed, error) {
	who, err := problem.Identify(r, g.cfg.Authenticate)
	if err != nil {
		return Feed{}, err
	}
	return problem.Decide(forbidden, func() (Feed, error) { return g.cfg.Feed(r, who) })
}

var forbidden = problem.New(gateways.CodeForbidden, "forbidden")

// listen starts at the client's last event. gap reports that this position is unknown.
func (g *Handler) listen(r *http.Request, feed Feed) (l *relay.Listener[[]byte], gap *relay.Gap, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), listenTimeout)
	defer cancel()
	from := lastEventID(r)
	o := relay.Options{
		From:     from,
		Topics:   feed.Topics,
		All:      feed.All,
		Overflow: g.cfg.Overflow,
		Idle:     g.cfg.Heartbeat,
	}
	if from == "" {
		o.From = g.cfg.From
	}
	l, err = g.pool.Listen(ctx, feed.Key, o)
	var bad *relay.CursorError
	if errors.As(err, &bad) {
		o.From = ""
		l, err = g.pool.Listen(ctx, feed.Key, o)
		gap = &relay.Gap{Missed: -1}
	}
	switch {
	case err == nil:
		return l, gap, nil
	case errors.Is(err, relay.ErrTooManyStreams):
		g.refused.Add(1)
		return nil, nil, problem.Error{
			Status:  http.StatusServiceUnavailable,
			Code:    gateways.CodeOverloaded,
			Message: "too many event streams: retry later",
			Retry:   busyRetry,
		}
	case r.Context().Err() == nil:
		g.cfg.Log.Warn("sse: reading the stream failed", "error", err)
	}
	return nil, nil, problem.New(gateways.CodeUnavailable, "events unavailable: retry later")
}

// lastEventID returns the client's last event ID. Browsers can't set headers on the first request,
// and polyfills never can. They use the query; polyfills append their ID to the page's own.
func lastEventID(r *http.Request) (id string) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if !isLastEventID(name) {
			continue
		}
		if v, err := url.QueryUnescape(value); err == nil && v != "" {
			id = v
		}
	}
	return id
}

var spelling = strings.NewReplacer("-", "", "_", "")

// isLastEventID reports the spellings in use.
func isLastEventID(name string) bool {
	if len(name) > 32 {
		return false
	}
	name = strings.ToLower(spelling.Replace(name))
	return name == "lasteventid" || name == "evslasteventid"
}

// send writes events until the client or the server ends it.
func (g *Handler) send(ctx context.Context, l *relay.Listener[[]byte], out *eventWriter) error {
	for {
		b, err := l.Next(ctx)
		switch {
		case errors.Is(err, relay.ErrTooSlow):
			g.slow.Add(1)
			out.text = append(out.text, "event: overflow\ndata: {}\n\n"...)
			return out.flush()
		case redisio.IsPermanent(err):
			g.cfg.Log.Warn("sse: reading the stream failed", "error", err)
			return nil
		case err != nil: // the client may reconnect elsewhere
			return nil
		}
		if b.Gap != nil {
			out.gap(b.Gap, b.Gap.To)
		}
		for i := range b.Items {
			if err := out.event(b.Items[i].Value); err != nil {
				return err
			}
			out.last = b.Items[i].Cursor
		}
		out.progress(b.Cursor, b.Gap == nil && len(b.Items) == 0)
		if err := out.flush(); err != nil {
			return err
		}
	}
}

// flushEvery is how many bytes are written before they are flushed.
const flushEvery = 64 << 10

// eventWriter writes events to one client.
type eventWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	text    []byte // not yet written
	last    string // the ID that the client has
}

func (o *eventWriter) Header() {
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform") // a compressing proxy would wait for more data
	h.Set("X-Accel-Buffering", "no")                 // nginx
	h.Set("X-Content-Type-Options", "nosniff")
	_ = o.rc.SetReadDeadline(time.Time{}) // if not supported, the server's own deadline applies
	o.w.WriteHeader(http.StatusOK)
}

// event writes an event. It flushes when the buffer exceeds 64 KiB, so that slow clients are
// detected early.
func (o *eventWriter) event(frame []byte) error {
	if len(o.text) > 0 && len(o.text)+len(frame) > flushEvery {
		if err := o.flush(); err != nil {
			return err
		}
	}
	o.text = append(o.text, frame...)
	return nil
}

// gap writes a gap. Its ID is the position to continue at.
func (o *eventWriter) gap(g *relay.Gap, cursor string) {
	data, err := json.Marshal(struct {
		From   string `json:"from"`
		To     string `json:"to"`
		Missed int    `json:"missed"`
	}{g.From, cursor, g.Missed})
	if err != nil { // can't happen: two strings and a number
		panic(err)
	}
	o.text = appendEvent(o.text, cursor, "gap", data)
	o.last = cursor
}

// keepalive is the type of events that advance the client's ID.
const keepalive = "keepalive"

// progress writes a heartbeat if beat is set: an event that advances the client's ID past events
// for others, or a comment if the ID is current.
func (o *eventWriter) progress(cursor string, beat bool) {
	switch {
	case !beat:
	case cursor == o.last:
		o.text = append(o.text, ":\n"...) // without an empty line, so it ends no event
	default:
		o.text = appendEvent(o.text, cursor, keepalive, []byte("{}"))
		o.last = cursor
	}
}

// flush sends the buffer within the timeout.
func (o *eventWriter) flush() error {
	// if not supported, the server's own deadline applies
	soon := func() { _ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout)) }
	var err error
	for rest := o.text; len(rest) > 0 && err == nil; {
		n := min(len(rest), flushEvery)
		soon()
		_, err = o.w.Write(rest[:n])
		rest = rest[n:]
	}
	if err == nil {
		soon()
		err = o.rc.Flush()
	}
	if cap(o.text) > 2*flushEvery {
		o.text = nil
	}
	o.text = o.text[:0]
	if err == nil {
		_ = o.rc.SetWriteDeadline(time.Time{}) // on an HTTP/2 stream a deadline would also end a silent stream
	}
	return err
}

// end restores the connection's write deadline.
func (o *eventWriter) end() { _ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout)) }
