package durable

import (
	"errors"
	"net/http"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// serveEvents serves a reply as server-sent events. It returns an error only before anything has
// been written.
func (h *pageHandler) serveEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := h.admit(r, ActFollow)
	if err != nil {
		return err
	}
	if err := h.r.enter(); err != nil {
		return err
	}
	defer h.r.leave()
	cursor := r.Header.Get("Last-Event-ID")
	if cursor == "" {
		cursor = r.URL.Query().Get("cursor")
	}
	f, err := h.begin(r, id, cursor)
	if err != nil {
		return err
	}
	defer f.close()
	if f.info.State != Open && f.first == nil && f.at.Seq > f.info.Last.Seq {
		w.WriteHeader(http.StatusNoContent) // the client has the end: it must not reconnect
		return nil
	}
	out := newStreamWriter(w, h.cfg.WriteTimeout)
	defer out.end()
	out.header()
	if r.Method == http.MethodHead {
		return nil
	}
	out.text = append(out.text, "retry: 1000\n"...)
	if err := out.flush(); err != nil {
		if errors.Is(err, http.ErrNotSupported) {
			h.r.cfg.Log.Error("durable: the http.ResponseWriter can't flush: add a method Unwrap to its wrapper")
		}
		return nil
	}
	send := func(events []event, end *transcript.End) error {
		if err := encode(f, out, events); err != nil {
			return err
		}
		if end != nil {
			cursor := redisio.ID{Ms: f.info.Base.Ms, Seq: f.at.Seq}
			out.event(cursor.String(), "end", endMessage(*end).text())
		}
		return out.flush()
	}
	if err := h.drain(r.Context(), f, send, out.quiet); err != nil && r.Context().Err() == nil {
		// The client reconnects; unless the reply is gone, which a new request tells it.
		h.r.cfg.Log.Info("durable: events ended", "path", problem.LogPath(r), "error", err)
	}
	return nil
}

// encode appends events to the buffer, and flushes it when it is large.
func encode(f *follower, out *streamWriter, events []event) error {
	for _, e := range events {
		if len(out.text) >= mostBuffer {
			if err := out.flush(); err != nil {
				return err
			}
		}
		switch {
		case e.gap != nil:
			out.event(e.gap.To, "gap", gapMessage(e.gap).text())
		case e.entry.Reset:
			out.event(e.entry.ID.String(), "reset", []byte("{}"))
		default:
			out.event(e.entry.ID.String(), "", plain(f.info.ContentType, e.entry.Data))
		}
	}
	return nil
}

// mostBuffer is how many bytes a client has in a buffer, unless one event is larger.
const mostBuffer = 64 << 10

// streamWriter writes a response of server-sent events.
type streamWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	text    []byte // not flushed yet
}

func newStreamWriter(w http.ResponseWriter, timeout time.Duration) *streamWriter {
	return &streamWriter{w: w, rc: http.NewResponseController(w), timeout: timeout}
}

func (o *streamWriter) header() {
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // for proxies
	o.w.WriteHeader(http.StatusOK)
}

func (o *streamWriter) event(id, typ string, data []byte) {
	o.text = sse.AppendEvent(o.text, id, typ, data)
}

// flush sends the buffer within the timeout.
func (o *streamWriter) flush() error {
	_ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout)) // if not supported, the server's own applies
	_, err := o.w.Write(o.text)
	if o.text = o.text[:0]; cap(o.text) > 2*mostBuffer { // the client may be silent for hours
		o.text = nil
	}
	if err == nil {
		err = o.rc.Flush()
	}
	if err == nil {
		_ = o.rc.SetWriteDeadline(time.Time{}) // on HTTP/2 a deadline would also end a silent stream
	}
	return err
}

// quiet sends a comment.
func (o *streamWriter) quiet() error {
	o.text = append(o.text, ":\n"...)
	return o.flush()
}

// end restores the connection's write deadline.
func (o *streamWriter) end() { _ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout)) }
