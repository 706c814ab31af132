package durable

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways/internal/places"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// errGone: the client has closed the socket.
var errGone = errors.New("durable: client disconnected")

// mostFrame is the largest message of a client: the only one is a stop.
const mostFrame = 4 << 10

// serveSocket serves a reply on a WebSocket. A page cannot see the status of a handshake, so a
// refusal opens the socket and closes it with 4000 plus the status.
func (h *pageHandler) serveSocket(w http.ResponseWriter, r *http.Request) {
	leave, ok := places.Take(r.Context())
	if !ok {
		problemOf(ErrBusy).Write(w)
		return
	}
	defer leave()
	id, err := h.admit(r, ActFollow)
	if err == nil {
		err = h.r.enter()
	}
	var f *follower
	if err == nil {
		defer h.r.leave()
		f, err = h.begin(r, id, r.URL.Query().Get("cursor"))
	}
	conn, failed := websocket.Accept(w, r, &websocket.AcceptOptions{
		OriginPatterns: h.cfg.Origins, CompressionMode: websocket.CompressionDisabled,
	})
	if failed != nil {
		if f != nil {
			f.close()
		}
		return // Accept has written the response
	}
	defer func() { _ = conn.CloseNow() }() // an error means that it is closed already
	if err != nil {
		p := problemOf(err)
		_ = conn.Close(websocket.StatusCode(4000+p.Status), p.Message)
		return
	}
	defer f.close()
	conn.SetReadLimit(mostFrame)
	ctx, cancel := context.WithCancelCause(r.Context())
	var reading sync.WaitGroup
	reading.Go(func() { cancel(h.read(ctx, conn, r, id)) })
	err = h.write(ctx, conn, f)
	status, reason := websocket.StatusNormalClosure, "end"
	switch {
	case errors.Is(err, ErrUnknown):
		status, reason = 4404, "reply is unknown or has expired"
	case err != nil:
		status, reason = websocket.StatusGoingAway, "reconnect"
	}
	_ = conn.Close(status, reason) // it waits for the answer of the client, at most 5 s
	cancel(errGone)
	reading.Wait()
}

// read carries out what the client sends until it disconnects.
func (h *pageHandler) read(ctx context.Context, conn *websocket.Conn, r *http.Request, id string) error {
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return errGone
		}
		var m message
		if json.Unmarshal(text, &m) != nil || m.Type != "stop" {
			_ = conn.Close(websocket.StatusPolicyViolation, `send {"type":"stop"} only`)
			return errGone
		}
		if _, err = h.admit(r, ActStop); err == nil {
			err = h.r.Stop(ctx, id)
		}
		if err != nil && !errors.Is(err, ErrEnded) { // after the end the client has received it
			p := problemOf(err)
			refusal := message{Type: "error", Code: string(p.Code), Message: p.Message}
			if h.send(ctx, conn, refusal) != nil {
				return errGone
			}
		}
	}
}

func (h *pageHandler) send(ctx context.Context, conn *websocket.Conn, m message) error {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.WriteTimeout)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, m.text())
}

// write sends the reply.
func (h *pageHandler) write(ctx context.Context, conn *websocket.Conn, f *follower) error {
	send := func(events []event, end *transcript.End) error {
		for _, e := range events {
			var m message
			switch {
			case e.gap != nil:
				m = gapMessage(e.gap)
				m.Type, m.Cursor = "gap", e.gap.To
			case e.entry.Reset:
				m = message{Type: "reset", Cursor: e.entry.ID.String()}
			default:
				m = valueMessage(f.info.ContentType, e.entry)
			}
			if err := h.send(ctx, conn, m); err != nil {
				return err
			}
		}
		if end == nil {
			return nil
		}
		m := endMessage(*end)
		m.Type, m.Cursor = "end", f.at.String()
		return h.send(ctx, conn, m)
	}
	quiet := func() error {
		ctx, cancel := context.WithTimeout(ctx, h.cfg.WriteTimeout)
		defer cancel()
		return conn.Ping(ctx)
	}
	return h.drain(ctx, f, send, quiet)
}
