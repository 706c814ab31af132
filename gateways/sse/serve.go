package sse

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/eventstream"
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
	out := &client{Writer: eventstream.New(w, g.cfg.WriteTimeout)}
	if r.Method == http.MethodHead {
		out.Begin()
		return nil
	}
	l, gap, err := g.listen(r, feed)
	if err != nil {
		return err
	}
	defer l.Close()
	defer out.End()
	out.Retry(g.cfg.Retry)
	if gap != nil {
		err = out.gap(gap, l.Cursor())
	}
	if err = errors.Join(err, out.Flush()); errors.Is(err, http.ErrNotSupported) {
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
func (g *Handler) send(ctx context.Context, l *relay.Listener[[]byte], out *client) error {
	for {
		b, err := l.Next(ctx)
		switch {
		case errors.Is(err, relay.ErrTooSlow):
			g.slow.Add(1)
			return errors.Join(out.Event("", "overflow", []byte("{}")), out.Flush())
		case redisio.IsPermanent(err):
			g.cfg.Log.Warn("sse: reading the stream failed", "error", err)
			return nil
		case err != nil: // the client may reconnect elsewhere
			return nil
		}
		if err := out.batch(b); err != nil {
			return err
		}
	}
}

// client is a client that receives events.
type client struct {
	*eventstream.Writer
	last string // the ID that the client has
}

// batch sends what a listener has received. A silent time gives a heartbeat.
func (o *client) batch(b relay.Batch[[]byte]) error {
	if b.Gap != nil {
		if err := o.gap(b.Gap, b.Gap.To); err != nil {
			return err
		}
	}
	for i := range b.Items {
		if err := o.Frame(b.Items[i].Value); err != nil {
			return err
		}
		o.last = b.Items[i].Cursor
	}
	if b.Gap == nil && len(b.Items) == 0 {
		if err := o.heartbeat(b.Cursor); err != nil {
			return err
		}
	}
	return o.Flush()
}

// gap adds a gap. Its ID is the position to continue at.
func (o *client) gap(g *relay.Gap, cursor string) error {
	data, err := json.Marshal(struct {
		From   string `json:"from"`
		To     string `json:"to"`
		Missed int    `json:"missed"`
	}{g.From, cursor, g.Missed})
	if err != nil { // can't happen: two strings and a number
		panic(err)
	}
	o.last = cursor
	return o.Event(cursor, "gap", data)
}

// keepalive is the type of events that advance the client's ID.
const keepalive = "keepalive"

// heartbeat adds an event that advances the client's ID past events for others, or a comment if the
// ID is current.
func (o *client) heartbeat(cursor string) error {
	if cursor == o.last {
		o.Comment()
		return nil
	}
	o.last = cursor
	return o.Event(cursor, keepalive, []byte("{}"))
}
