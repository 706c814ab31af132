package durable

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/problem"
)

// control is the event after each batch of data.
type control struct {
	Next     string `json:"streamNextOffset"`
	Cursor   string `json:"streamCursor,omitempty"`
	UpToDate bool   `json:"upToDate,omitempty"`
	Closed   bool   `json:"streamClosed,omitempty"`
}

// eventStream is an answer of server-sent events.
type eventStream struct {
	in     *reading
	out    *streamWriter
	closed bool // the end was sent
}

// events serves a stream as server-sent events of the protocol. The answer ends after HTTPConfig.SSE,
// and at a reset or a gap; then the client reconnects, and its next request tells it.
func (h *protocol) events(w http.ResponseWriter, r *http.Request, in *reading) error {
	s := &eventStream{in: in, out: newStreamWriter(w, h.cfg.WriteTimeout)}
	begun := false
	for upToDate := false; !upToDate; {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		page, err := h.r.store.Page(ctx, in.id, in.after, mostMessages)
		cancel()
		var values [][]byte
		last := in.after
		if err == nil {
			values, last, err = in.values(page.Entries)
		}
		if err != nil && begun {
			return nil
		} else if err != nil {
			return err
		}
		in.info, in.after, upToDate = page.Info, last, page.UpToDate
		if !begun {
			begun = true
			if !isText(typeOf(in.info)) {
				w.Header().Set(headerEncoding, "base64")
			}
			s.out.header()
			defer s.out.end()
		}
		if s.send(values, upToDate, upToDate && page.Info.State != Open) != nil || s.closed {
			return nil
		}
	}
	h.follow(r, s)
	return nil
}

// follow sends live values.
func (h *protocol) follow(r *http.Request, s *eventStream) {
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.SSE)
	defer cancel()
	f := h.follower(s.in)
	f.live = true
	defer f.close()
	for beat := time.Now(); ; {
		events, err := f.next(ctx)
		if err != nil && err != io.EOF {
			if r.Context().Err() == nil && ctx.Err() == nil {
				h.r.cfg.Log.Info("durable: events ended", "path", problem.LogPath(r), "error", err)
			}
			return
		}
		entries, gone := entriesOf(events)
		var values [][]byte
		if gone == nil {
			values, s.in.after, gone = s.in.values(entries)
		}
		switch {
		case gone != nil:
			return
		case len(values) > 0 || err == io.EOF:
			gone = s.send(values, true, err == io.EOF)
			beat = time.Now()
		case time.Since(beat) >= h.cfg.Heartbeat-h.r.quiet/2:
			s.out.text = append(s.out.text, ":\n"...)
			gone = s.out.flush()
			beat = time.Now()
		}
		if gone != nil || s.closed {
			return
		}
	}
}

// send sends values, if there are any, and the control event after them.
func (s *eventStream) send(values [][]byte, upToDate, closed bool) error {
	contentType := typeOf(s.in.info)
	if len(values) > 0 {
		data := joined(contentType, values)
		if !isText(contentType) {
			data = base64.StdEncoding.AppendEncode(nil, data)
		}
		s.out.event("", "data", data)
	}
	c := control{Next: offsetOf(s.in.after), UpToDate: upToDate, Closed: closed}
	if !closed {
		c.Cursor = liveCursor(time.Now(), s.in.cursor)
	}
	s.closed = closed
	text, err := json.Marshal(c)
	if err != nil { // can't happen: strings and booleans
		return err
	}
	s.out.event("", "control", text)
	return s.out.flush()
}
