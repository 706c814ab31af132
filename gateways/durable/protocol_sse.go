package durable

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/eventstream"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/redisio/transcript"
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
	in  *reading
	out *eventstream.Writer
}

// events serves a stream as server-sent events of the protocol. The answer ends after HTTPConfig.SSE,
// and at a reset or a gap; then the client reconnects, and its next request tells it.
func (h *protocol) events(w http.ResponseWriter, r *http.Request, in *reading, out answered) error {
	s := &eventStream{in: in, out: eventstream.New(w, h.cfg.WriteTimeout)}
	if !isText(typeOf(in.info)) {
		w.Header().Set(headerEncoding, "base64")
	}
	defer s.out.End()
	for {
		in.after = out.last
		if s.send(out.values, out.upToDate, out.closed) != nil || out.closed {
			return nil
		}
		if out.upToDate {
			break
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		var err error
		out, err = h.next(ctx, in)
		cancel()
		if err != nil {
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
	f := &follower{r: h.r, id: s.in.id, info: s.in.info, at: s.in.after, live: true}
	defer f.close()
	send := func(events []event, end *transcript.End) error {
		entries, err := entriesOf(events)
		var values [][]byte
		if err == nil {
			values, s.in.after, err = s.in.values(entries)
		}
		if err != nil || len(values) == 0 && end == nil {
			return err
		}
		return s.send(values, true, end != nil)
	}
	if err := h.drain(ctx, f, send, quiet(s.out)); err != nil && ctx.Err() == nil {
		h.r.cfg.Log.Info("durable: events ended", "path", problem.LogPath(r), "error", err)
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
		if err := s.out.Event("", "data", data); err != nil {
			return err
		}
	}
	c := control{Next: offsetOf(s.in.after), UpToDate: upToDate, Closed: closed}
	if !closed {
		c.Cursor = liveCursor(time.Now(), s.in.cursor)
	}
	text, err := json.Marshal(c)
	if err != nil { // can't happen: strings and booleans
		return err
	}
	if err := s.out.Event("", "control", text); err != nil {
		return err
	}
	return s.out.Flush()
}
