package durable

import (
	"errors"
	"net/http"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/eventstream"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
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
	out := eventstream.New(w, h.cfg.WriteTimeout)
	defer out.End()
	if r.Method == http.MethodHead {
		out.Begin()
		return nil
	}
	out.Retry(time.Second)
	if err := out.Flush(); err != nil {
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
			if err := out.Event(cursor.String(), "end", endMessage(*end).text()); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	if err := h.drain(r.Context(), f, send, quiet(out)); err != nil && r.Context().Err() == nil {
		// The client reconnects; unless the reply is gone, which a new request tells it.
		h.r.cfg.Log.Info("durable: events ended", "path", problem.LogPath(r), "error", err)
	}
	return nil
}

// encode adds events to what is sent.
func encode(f *follower, out *eventstream.Writer, events []event) (err error) {
	for i := 0; i < len(events) && err == nil; i++ {
		switch e := events[i]; {
		case e.gap != nil:
			err = out.Event(e.gap.To, "gap", gapMessage(e.gap).text())
		case e.entry.Reset:
			err = out.Event(e.entry.ID.String(), "reset", []byte("{}"))
		default:
			err = out.Event(e.entry.ID.String(), "", plain(f.info.ContentType, e.entry.Data))
		}
	}
	return err
}

// quiet returns a function that sends a comment.
func quiet(out *eventstream.Writer) func() error {
	return func() error {
		out.Comment()
		return out.Flush()
	}
}
