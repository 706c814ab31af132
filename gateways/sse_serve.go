package gateways

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
)

// ServeHTTP serves events until the client goes away, or the server stops.
func (g *EventStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.cors.header(w, r)
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		g.cors.preflight(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		refusal{Status: http.StatusMethodNotAllowed, Code: CodeInvalid, Message: "events are read by GET"}.write(w)
	case r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody:
		leave(w)
		refusal{Status: http.StatusBadRequest, Code: CodeInvalid, Message: "a " + r.Method + " has no body"}.write(w)
	case g.err != nil:
		g.cfg.Log.Error("sse: handler with mistakes", "error", g.err)
		refusal{
			Status:  http.StatusInternalServerError,
			Code:    CodeInternal,
			Message: "this route is not set up right; its log says why",
		}.write(
			w,
		)
	default:
		if err := g.serve(w, r); err != nil {
			refusalOf(err).write(w)
		}
	}
}

// serve returns an error while nothing has been answered.
func (g *EventStream) serve(w http.ResponseWriter, r *http.Request) error {
	feed, err := g.feed(r)
	var said *RemoteError
	var panicked *flow.PanicError
	switch {
	case errors.As(err, &panicked):
		g.cfg.Log.Error("sse: Feed panicked", "panic", fmt.Sprint(panicked.Value), "path", path(r), "stack",
			string(panicked.Stack))
		return broken
	case errors.As(err, &said):
		return said
	case err != nil:
		g.cfg.Log.Info("sse: refused", "path", path(r), "error", err)
		return refusal{Status: http.StatusForbidden, Code: CodeForbidden, Message: "these events are not for you"}
	case feed.Key == "":
		return refusal{Status: http.StatusNotFound, Code: CodeNotFound, Message: "there are no such events"}
	}
	if err := g.enter(); err != nil {
		return err
	}
	defer g.leave()
	out := &eventWriter{w: w, rc: http.NewResponseController(w), timeout: g.cfg.WriteTimeout}
	if r.Method == http.MethodHead {
		out.header()
		return nil
	}
	l, gap, err := g.listen(r, feed)
	if err != nil {
		return err
	}
	defer l.Close()
	defer out.end()
	out.header()
	out.text = append(out.text, "retry: "...)
	// of the first event: alone it would be an event to some
	out.text = append(strconv.AppendInt(out.text, g.cfg.Retry.Milliseconds(), 10), '\n')
	if gap != nil {
		out.gap(gap, l.Cursor())
	}
	if err := out.flush(); errors.Is(err, http.ErrNotSupported) {
		g.cfg.Log.Error("sse: the http.ResponseWriter can't flush: what wraps it needs a method Unwrap")
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

func (g *EventStream) feed(r *http.Request) (feed Feed, err error) {
	defer caught(&err)
	return g.cfg.Feed(r)
}

// listen begins where the client was. gap tells that it can't be known where that is.
func (g *EventStream) listen(r *http.Request, feed Feed) (l *relay.Listener[[]byte], gap *relay.Gap, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), listenTimeout)
	defer cancel()
	from := lastEventID(r)
	o := relay.Options{
		From:     from,
		Topics:   feed.Topics,
		All:      feed.All,
		Overflow: relay.Overflow(g.cfg.Overflow),
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
		return nil, nil, refusal{
			Status:  http.StatusServiceUnavailable,
			Code:    CodeOverloaded,
			Message: "too many kinds of events: try again later",
			retry:   busyRetry,
		}
	case r.Context().Err() == nil:
		g.cfg.Log.Warn("sse: the stream can't be read", "error", err)
	}
	return nil, nil, refusal{
		Status:  http.StatusServiceUnavailable,
		Code:    CodeUnavailable,
		Message: "events can't be had now",
		retry:   retryAfter,
	}
}

// lastEventID is what the client had last, as it says. Browsers can't set headers on the first request,
// and polyfills on none: for these there is the query, to which polyfills add their own behind the page's.
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

// isLastEventID reports the spellings that are in use.
func isLastEventID(name string) bool {
	if len(name) > 32 {
		return false
	}
	name = strings.ToLower(spelling.Replace(name))
	return name == "lasteventid" || name == "evslasteventid"
}

// send writes events until one of both sides ends it.
func (g *EventStream) send(ctx context.Context, l *relay.Listener[[]byte], out *eventWriter) error {
	for {
		b, err := l.Next(ctx)
		switch {
		case errors.Is(err, relay.ErrTooSlow):
			g.slow.Add(1)
			out.text = append(out.text, "event: overflow\ndata: {}\n\n"...)
			return out.flush()
		case redisio.IsPermanent(err):
			g.cfg.Log.Warn("sse: the stream can't be read any more", "error", err)
			return nil
		case err != nil: // it ends here, and may go on elsewhere
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

// flushEvery is how much is written before it has to be read.
const flushEvery = 64 << 10

// eventWriter writes events to one client.
type eventWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	text    []byte // to be written
	last    string // the ID that the client has
}

func (o *eventWriter) header() {
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform") // a proxy that compresses would wait for more
	h.Set("X-Accel-Buffering", "no")                 // nginx
	h.Set("X-Content-Type-Options", "nosniff")
	_ = o.rc.SetReadDeadline(time.Time{}) // where there is none the server's own holds
	o.w.WriteHeader(http.StatusOK)
}

// event writes an event. What is much has to be read meanwhile.
func (o *eventWriter) event(frame []byte) error {
	if len(o.text) > 0 && len(o.text)+len(frame) > flushEvery {
		if err := o.flush(); err != nil {
			return err
		}
	}
	o.text = append(o.text, frame...)
	return nil
}

// gap tells of a gap. Its ID is where to go on.
func (o *eventWriter) gap(g *relay.Gap, cursor string) {
	data, err := json.Marshal(struct {
		From   string `json:"from"`
		To     string `json:"to"`
		Missed int    `json:"missed"`
	}{g.From, cursor, g.Missed})
	if err != nil { // two strings and a number
		panic(err)
	}
	o.text = appendEvent(o.text, cursor, "gap", data)
	o.last = cursor
}

// keepalive is the type of events that move the client's ID on.
const keepalive = "keepalive"

// progress moves the client's ID on, past what was for others; beat says that nothing else is written.
func (o *eventWriter) progress(cursor string, beat bool) {
	switch {
	case !beat:
	case cursor == o.last:
		o.text = append(o.text, ":\n"...) // without an empty line: it ends no event
	default:
		o.text = appendEvent(o.text, cursor, keepalive, []byte("{}"))
		o.last = cursor
	}
}

// flush has the client read what was written, in time.
func (o *eventWriter) flush() error {
	// where there is none the server's own holds
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
		_ = o.rc.SetWriteDeadline(time.Time{}) // of a stream of HTTP/2 it would end the silence too
	}
	return err
}

// end leaves the connection as it was.
func (o *eventWriter) end() { _ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout)) }
