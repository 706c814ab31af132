package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/graph-gophers/graphql-go"
	gqlerrors "github.com/graph-gophers/graphql-go/errors"
)

// The protocol is graphql-transport-ws, which the npm package graphql-ws specifies. No maintained
// library in Go serves it without the rest of gqlgen.
const protocol = "graphql-transport-ws"

// Limits of sockets.
const (
	maxSockets       = 1000 // of this process
	maxSubscriptions = 20   // of a socket
	initTimeout      = 10 * time.Second
	pingEvery        = 20 * time.Second
	writeTimeout     = 10 * time.Second // a client that does not read is disconnected
)

// The codes with which the protocol closes a socket.
const (
	closeInvalid      websocket.StatusCode = 4400
	closeUnauthorized websocket.StatusCode = 4401
	closeNoProtocol   websocket.StatusCode = 4406
	closeInitTimeout  websocket.StatusCode = 4408
	closeTwice        websocket.StatusCode = 4409
	closeInitTwice    websocket.StatusCode = 4429
)

// message is a message of the protocol, in either direction.
type message struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// socket is one connection.
type socket struct {
	api   *api
	conn  *websocket.Conn
	ready atomic.Bool    // connection_init has arrived
	work  sync.WaitGroup // subscriptions, and the pings

	mu   sync.Mutex
	open map[string]context.CancelFunc // the operations that run, by their ID
}

// socket serves a WebSocket until the client or the server ends it. websocket.Accept refuses pages
// of other sites.
func (a *api) socket(w http.ResponseWriter, r *http.Request) {
	if a.sockets.Add(1) > maxSockets {
		a.sockets.Add(-1)
		w.Header().Set("Retry-After", "2")
		http.Error(w, "too many sockets, try again later", http.StatusServiceUnavailable)
		return
	}
	defer a.sockets.Add(-1)
	a.running.Add(1)
	defer a.running.Done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxBody)
	s := &socket{api: a, conn: conn, open: make(map[string]context.CancelFunc)}
	if conn.Subprotocol() != protocol {
		_ = conn.Close(closeNoProtocol, "Subprotocol not acceptable")
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	goAway := func() { _ = conn.Close(websocket.StatusGoingAway, "server stops") }
	leave, drop := context.AfterFunc(a.stop, goAway), context.AfterFunc(r.Context(), goAway)
	late := time.AfterFunc(initTimeout, func() {
		if !s.ready.Load() {
			_ = conn.Close(closeInitTimeout, "Connection initialisation timeout")
		}
	})
	s.work.Go(func() { s.ping(ctx) })
	s.read(ctx)
	late.Stop()
	leave()
	drop()
	cancel()
	s.work.Wait()
}

// ping notices a client that is gone.
func (s *socket) ping(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		answered, cancel := context.WithTimeout(ctx, writeTimeout)
		err := s.conn.Ping(answered)
		cancel()
		if err != nil {
			_ = s.conn.CloseNow()
			return
		}
	}
}

// read handles messages until the socket ends.
func (s *socket) read(ctx context.Context) {
	for {
		_, data, err := s.conn.Read(ctx)
		if err != nil {
			return
		}
		var m message
		if err := json.Unmarshal(data, &m); err != nil {
			_ = s.conn.Close(closeInvalid, "Invalid message")
			return
		}
		if code, reason := s.handle(ctx, m); code != 0 {
			_ = s.conn.Close(code, reason)
			return
		}
	}
}

// handle handles a message. A code closes the socket.
func (s *socket) handle(ctx context.Context, m message) (code websocket.StatusCode, reason string) {
	switch m.Type {
	case "connection_init":
		if s.ready.Swap(true) {
			return closeInitTwice, "Too many initialisation requests"
		}
		s.write(ctx, message{Type: "connection_ack"})
	case "ping":
		s.write(ctx, message{Type: "pong", Payload: m.Payload})
	case "pong":
	case "subscribe":
		var q query
		switch {
		case !s.ready.Load():
			return closeUnauthorized, "Unauthorized"
		case m.ID == "" || json.Unmarshal(m.Payload, &q) != nil || q.Query == "":
			return closeInvalid, "Invalid message"
		}
		return s.subscribe(ctx, m.ID, q)
	case "complete":
		s.mu.Lock()
		defer s.mu.Unlock()
		if cancel := s.open[m.ID]; cancel != nil {
			cancel()
		}
	default:
		return closeInvalid, "Invalid message"
	}
	return 0, ""
}

// subscribe runs an operation: a subscription, a query or a mutation.
func (s *socket) subscribe(ctx context.Context, id string, q query) (code websocket.StatusCode, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open[id] != nil:
		return closeTwice, "Subscriber for " + id[:min(len(id), 40)] + " already exists"
	case len(s.open) >= maxSubscriptions:
		s.work.Go(func() {
			s.fail(ctx, id, &gqlerrors.QueryError{Message: "a socket has at most 20 operations",
				Extensions: map[string]any{"code": "overloaded"}})
		})
		return 0, ""
	}
	ctx, cancel := context.WithCancel(ctx)
	s.open[id] = cancel
	s.work.Go(func() {
		more := s.results(s.api.operation().in(ctx), id, q)
		s.mu.Lock()
		delete(s.open, id)
		s.mu.Unlock()
		if more && ctx.Err() == nil {
			s.write(ctx, message{ID: id, Type: "complete"})
		}
		cancel()
	})
	return 0, ""
}

// results sends the results of an operation. It returns false after an error, which ends the
// operation for the client.
func (s *socket) results(ctx context.Context, id string, q query) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all, err := s.api.schema.Subscribe(ctx, q.Query, q.OperationName, q.Variables)
	if err != nil {
		s.fail(ctx, id, gqlerrors.Errorf("%s", err))
		return false
	}
	ok := true
	for v := range all {
		resp, is := v.(*graphql.Response)
		if !is || !ok {
			continue // until the library has closed the channel
		}
		if len(resp.Errors) > 0 && (len(resp.Data) == 0 || string(resp.Data) == "null") {
			s.fail(ctx, id, resp.Errors...)
			ok = false
			cancel()
			continue
		}
		payload, err := json.Marshal(resp)
		if err == nil {
			s.write(ctx, message{ID: id, Type: "next", Payload: payload})
		}
	}
	return ok
}

func (s *socket) fail(ctx context.Context, id string, errs ...*gqlerrors.QueryError) {
	if payload, err := json.Marshal(errs); err == nil {
		s.write(ctx, message{ID: id, Type: "error", Payload: payload})
	}
}

// write sends a message. It blocks while the client does not read: the loop over the events then
// waits, and they stay in Redis. If it takes too long, the socket is closed.
func (s *socket) write(ctx context.Context, m message) {
	data, err := json.Marshal(m)
	if err != nil {
		return
	}
	// Cancelling a write breaks the socket, and an operation may end while others go on.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	_ = s.conn.Write(ctx, websocket.MessageText, data) // an error ends read
}
