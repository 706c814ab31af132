package durable

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/cors"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// Action is what a client wants to do with a reply or a stream.
type Action string

const (
	ActFollow Action = "follow"
	ActStop   Action = "stop"
	// The others are those of the Durable Streams protocol.
	ActCreate Action = "create"
	ActAppend Action = "append" // or close
	ActDelete Action = "delete"
)

// HTTPConfig configures the handlers of Replies. The zero value is the default.
type HTTPConfig struct {
	// ID returns the ID of the reply that a request names. Defaults to the path value "id" of the
	// mux's pattern. "" is answered with 404.
	ID func(*http.Request) string
	// Authenticate identifies the client for Authorize. Defaults to anonymous clients.
	Authenticate gateways.Authenticator
	// Authorize permits an action. A *RemoteError, such as Errorf(CodeNotFound, …), is answered with
	// its code, any other error with 403. Defaults to all actions for all clients: then the ID of a
	// reply is what protects it.
	Authorize func(r *http.Request, who gateways.Identity, id string, act Action) error
	// Heartbeat is how long a connection may be silent. Defaults to 15 s.
	Heartbeat time.Duration
	// WriteTimeout is how long a client may take to read what was sent. Defaults to 10 s.
	WriteTimeout time.Duration
	// LongPoll is how long a long-poll of the protocol waits, and SSE how long its event streams last
	// until clients reconnect. Default to 20 s and 60 s.
	LongPoll, SSE time.Duration
	// Origins are the web origins that may use the handler, such as https://app.example.com, or "*"
	// for all. Defaults to none: only the server's own origin.
	Origins []string
}

// handler is what the handlers of replies share.
type handler struct {
	r    *Replies
	cfg  HTTPConfig
	cors cors.Policy
	err  error // of the configuration
}

func newHandler(r *Replies, cfg HTTPConfig) handler {
	m := redisio.MistakesOf("durable.HTTPConfig")
	m.Negative("Heartbeat", int64(cfg.Heartbeat), "leave it 0 for 15 seconds")
	m.Negative("WriteTimeout", int64(cfg.WriteTimeout), "leave it 0 for 10 seconds")
	m.Negative("LongPoll", int64(cfg.LongPoll), "leave it 0 for 20 seconds")
	m.Negative("SSE", int64(cfg.SSE), "leave it 0 for 60 seconds")
	cors.CheckOrigins(m, cfg.Origins, false)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 15*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 10*time.Second)
	cfg.LongPoll = cmp.Or(cfg.LongPoll, 20*time.Second)
	cfg.SSE = cmp.Or(cfg.SSE, 60*time.Second)
	if cfg.ID == nil {
		cfg.ID = func(r *http.Request) string { return r.PathValue("id") }
	}
	return handler{r: r, cfg: cfg, err: errors.Join(r.err, m.Err()),
		cors: cors.Policy{Origins: cfg.Origins, MaxAge: cors.DefaultMaxAge}}
}

// admit returns the ID of a request's reply if the action is permitted.
func (h *handler) admit(r *http.Request, act Action) (string, error) {
	if h.err != nil {
		h.r.cfg.Log.Error("durable: handler misconfigured", "error", h.err)
		return "", problem.New(gateways.CodeInternal, "route misconfigured: see the server's log")
	}
	id := h.cfg.ID(r)
	if id == "" {
		return "", problemOf(ErrUnknown)
	}
	who, err := problem.Identify(r, h.cfg.Authenticate)
	if err == nil && h.cfg.Authorize != nil {
		_, err = problem.Decide(problem.New(gateways.CodeForbidden, "forbidden"), func() (struct{}, error) {
			return struct{}{}, h.cfg.Authorize(r, who, id, act)
		})
	}
	if err != nil {
		path := problem.LogPath(r)
		if !problem.LogPanic(h.r.cfg.Log, err, "durable: callback panicked", "path", path) {
			h.r.cfg.Log.Info("durable: refused", "path", path, "error", err)
		}
	}
	return id, err
}

// problemOf returns the answer to an error.
func problemOf(err error) problem.Error {
	var cursor *CursorError
	var name *transcript.NameError
	var large *TooLargeError
	var many *transcript.TooManyError
	switch {
	case errors.Is(err, ErrUnknown), errors.As(err, &name):
		return problem.New(gateways.CodeNotFound, "reply is unknown or has expired")
	case errors.Is(err, ErrEnded):
		return problem.New(gateways.CodeConflict, "reply has ended")
	case errors.As(err, &cursor):
		return problem.New(gateways.CodeInvalid, "invalid cursor")
	case errors.As(err, &large), errors.As(err, &many):
		return problem.New(gateways.CodeTooLarge, strings.TrimPrefix(err.Error(), "transcript: "))
	case errors.Is(err, ErrBusy):
		return problem.New(gateways.CodeOverloaded, "too many replies are followed: retry later")
	case errors.Is(err, ErrClosed):
		return problem.New(gateways.CodeUnavailable, "server stopping: reconnect")
	}
	return problem.Of(err)
}

// Handler returns the handler of replies for browsers. Mount it under a pattern with {id}, without a
// method:
//
//	mux.Handle("/answers/{id}", replies.Handler(durable.HTTPConfig{}))
//
// GET sends the reply as server-sent events. Each value is an event of type "message", with its
// cursor as the ID. A client that reconnects with the header Last-Event-ID, or with the query
// "cursor", receives the events after it. Text and JSON are sent as they are, other values in
// base64. Further types of events:
//
//	event: reset   all values before are void
//	event: gap     values were deleted before the client has read them
//	data: {"from":"…","to":"…","missed":3}
//	event: end     the last event: close the EventSource
//	data: {"state":"done"}, "stopped", or "failed" with a code and a message
//
// A client that reconnects after the end is answered with 204, which stops an EventSource. A
// WebSocket handshake opens a socket that receives the same as JSON messages, resumes by the query
// "cursor", and may send {"type":"stop"}:
//
//	{"type":"value","cursor":"…","data":"word "}
//	{"type":"end","cursor":"…","state":"done"}
//
// DELETE stops the reply: 204, also if it is stopped already; 409 if it was done or had failed. HEAD
// tells whether it exists. Unknown and expired IDs are 404, on a socket the close code 4404.
func (r *Replies) Handler(cfg HTTPConfig) http.Handler {
	h := &pageHandler{newHandler(r, cfg)}
	h.cors.Methods, h.cors.Headers = "GET, HEAD, DELETE", "Last-Event-ID, Cache-Control, Authorization"
	return h
}

type pageHandler struct{ handler }

const allowedMethods = "GET, HEAD, DELETE, OPTIONS"

func (h *pageHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.cors.Header(w, r)
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			h.serveSocket(w, r)
			return
		}
		err = h.serveEvents(w, r)
	case http.MethodDelete:
		err = h.stop(w, r)
	case http.MethodOptions:
		w.Header().Set("Allow", allowedMethods)
		h.cors.Preflight(w, r)
	default:
		w.Header().Set("Allow", allowedMethods)
		err = problem.Error{Status: http.StatusMethodNotAllowed, Code: gateways.CodeInvalid,
			Message: "method not allowed: use GET or DELETE"}
	}
	if err != nil {
		problemOf(err).Write(w)
	}
}

func (h *pageHandler) stop(w http.ResponseWriter, r *http.Request) error {
	id, err := h.admit(r, ActStop)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if err := h.r.Stop(ctx, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// begin begins to follow a reply for a client.
func (h *handler) begin(r *http.Request, id, cursor string) (*follower, error) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	return h.r.follow(ctx, id, cursor)
}

// message is what a client receives as JSON.
type message struct {
	Type     string          `json:"type,omitempty"`
	Cursor   string          `json:"cursor,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Encoding string          `json:"encoding,omitempty"` // "base64" if Data is bytes
	State    State           `json:"state,omitempty"`
	Code     string          `json:"code,omitempty"`
	Message  string          `json:"message,omitempty"`
	From     string          `json:"from,omitempty"`
	To       string          `json:"to,omitempty"`
	Missed   int64           `json:"missed,omitempty"`
}

func (m message) text() []byte {
	b, err := json.Marshal(m)
	if err != nil { // Data was checked
		b, _ = json.Marshal(message{Type: m.Type, Cursor: m.Cursor})
	}
	return b
}

// isText reports whether values of a type are sent as they are.
func isText(contentType string) bool {
	return wire.IsJSON(contentType) || strings.HasPrefix(strings.ToLower(contentType), "text/")
}

// plain returns the data of a value for server-sent events.
func plain(contentType string, data []byte) []byte {
	if isText(contentType) {
		return data
	}
	return base64.StdEncoding.AppendEncode(nil, data)
}

// valueMessage returns a value as a message.
func valueMessage(contentType string, e transcript.Entry) message {
	m := message{Type: "value", Cursor: e.ID.String()}
	switch {
	case wire.IsJSON(contentType) && json.Valid(e.Data):
		m.Data = e.Data
	case isText(contentType):
		m.Data, _ = json.Marshal(string(e.Data)) // of a string: can't fail
	default:
		m.Data, _ = json.Marshal(e.Data)
		m.Encoding = "base64"
	}
	return m
}

func endMessage(end transcript.End) message {
	return message{State: end.State, Code: end.Code, Message: end.Message}
}

func gapMessage(g *TrimmedError) message {
	return message{From: g.From, To: g.To, Missed: g.Missed}
}

// drain passes the events of a follower to send until the reply ends, and then its end. quiet is
// called after each silent Heartbeat. Both return an error if the client is gone.
func (h *handler) drain(
	ctx context.Context, f *follower, send func([]event, *transcript.End) error, quiet func() error,
) error {
	f.idle = min(h.r.quiet, h.cfg.Heartbeat)
	for last := time.Now(); ; {
		events, err := f.next(ctx)
		var end *transcript.End
		if err == io.EOF {
			end, err = &f.end, nil
		}
		switch {
		case err != nil:
			return err
		case len(events) > 0 || end != nil:
			err, last = send(events, end), time.Now()
		case time.Since(last) >= h.cfg.Heartbeat-f.idle/2:
			err, last = quiet(), time.Now()
		}
		if err != nil || end != nil {
			return err
		}
	}
}
