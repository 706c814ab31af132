package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/problem"
)

// connection is the server's state of one connection.
type connection struct {
	server  *server
	conn    net.Conn
	cancel  context.CancelCauseFunc
	fresh   bool // no request has arrived yet
	streams bool // it carries a stream without an end of its own
}

type connectionKey struct{}

// connected gives a connection its own context. Requests over HTTP/2 share it.
func (s *server) connected(ctx context.Context, c net.Conn) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	state := &connection{server: s, conn: c, cancel: cancel, fresh: true}
	s.mu.Lock()
	s.conns[c] = state
	s.mu.Unlock()
	return context.WithValue(ctx, connectionKey{}, state)
}

func (s *server) changed(c net.Conn, to http.ConnState) {
	s.mu.Lock()
	state := s.conns[c]
	switch {
	case state == nil: // hijacked, and its handler has returned
	case to == http.StateActive:
		state.fresh = false
	case to == http.StateIdle:
		state.streams = false
	case to == http.StateClosed: // net/http does not report it for hijacked connections
		delete(s.conns, c)
		s.listener.Release()
		defer state.cancel(nil)
	}
	s.mu.Unlock()
}

// streams records that the response to a request does not end by itself.
func (s *server) streams(r *http.Request) {
	state, ours := r.Context().Value(connectionKey{}).(*connection)
	if !ours {
		return
	}
	s.mu.Lock()
	again := state.streams
	state.streams = true
	late := s.stopping
	s.mu.Unlock()
	if !again && s.cfg.SendBuffer > streamSendBuffer {
		setSendBuffer(state.conn, streamSendBuffer)
	}
	if late {
		state.cancel(ErrStopping)
	}
}

// ServeHTTP serves one request: it sets deadlines, recovers panics and logs the request.
func (s *server) ServeHTTP(inner http.ResponseWriter, r *http.Request) {
	w := &responseWriter{ResponseWriter: inner, server: s, request: r, began: time.Now()}
	w.conn, _ = inner.(deadlines)
	if s.leaving.Load() {
		inner.Header().Set("Connection", "close") // balancers and browsers reconnect elsewhere
	}
	s.mu.Lock()
	s.active++
	s.mu.Unlock()
	defer w.end()
	if w.conn != nil && r.Body != nil && r.Body != http.NoBody {
		_ = w.conn.SetReadDeadline(w.began.Add(s.cfg.BodyTimeout)) // net/http has no deadline for the body alone
		w.body = body{ReadCloser: r.Body, conn: w.conn}
		r.Body = &w.body
	}
	s.next.ServeHTTP(w, r)
}

// deadlines are the deadlines of a connection, or of an HTTP/2 stream.
type deadlines interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// body is a request body with a deadline. At its end the deadline is removed, because net/http
// keeps reading to notice a disconnect.
type body struct {
	io.ReadCloser
	conn deadlines
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// responseWriter is a ResponseWriter that sets a deadline for each write.
type responseWriter struct {
	http.ResponseWriter
	server   *server
	request  *http.Request
	conn     deadlines // nil: the connection has no deadlines
	body     body      // of the request
	set      time.Time // when the deadline of writes was set
	began    time.Time
	status   int
	bytes    int64
	own      bool // the handler sets its own deadlines
	streams  bool
	hijacked bool
}

// Unwrap is used by http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// justSet is how old the deadline of the header may be, so that it is the body's as well.
const justSet = time.Millisecond

// soon sets the deadline of the next write. HTTP/2 streams rely on the server's WriteByteTimeout,
// because a deadline would end silent streams.
func (w *responseWriter) soon() {
	if w.conn == nil || w.own || w.request.ProtoMajor != 1 {
		return
	}
	if now := time.Now(); w.bytes > 0 || now.Sub(w.set) >= justSet {
		w.set = now
		_ = w.conn.SetWriteDeadline(now.Add(w.server.cfg.WriteTimeout))
	}
}

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.soon()
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n := 0
	for {
		piece := p[n:min(n+writePiece, len(p))]
		w.soon()
		m, err := w.ResponseWriter.Write(piece)
		n += m
		w.bytes += int64(m)
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// writePiece is the most bytes written under one deadline.
const writePiece = 64 << 10

func (w *responseWriter) SetWriteDeadline(t time.Time) error {
	w.own = true
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}

func (w *responseWriter) Flush() { _ = w.FlushError() } // implements http.Flusher

func (w *responseWriter) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.stream()
	w.soon()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.stream()
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.hijacked = true
	return &hijacked{Conn: c, release: w.server.listener.Release}, rw, nil
}

func (w *responseWriter) stream() {
	if !w.streams {
		w.streams = true
		w.server.streams(w.request)
	}
}

// end ends a request, also when its handler panics.
func (w *responseWriter) end() {
	p := recover()
	aborted := p == http.ErrAbortHandler
	if p != nil && !aborted {
		w.server.cfg.Log.Error("http: handler panicked", "panic", fmt.Sprint(p), "method", w.request.Method,
			"path", problem.LogPath(w.request), "stack", string(debug.Stack()))
		if w.status == 0 && !w.hijacked {
			problem.Panicked.Write(w)
		} else {
			aborted = true // a truncated reply must not look complete
		}
	}
	s := w.server
	s.mu.Lock()
	if s.active--; s.active == 0 && s.stopping {
		close(s.idle)
	}
	s.mu.Unlock()
	if w.hijacked {
		s.over(w.request)
	}
	w.log()
	if aborted && !w.hijacked {
		panic(http.ErrAbortHandler)
	}
}

// over forgets a hijacked connection.
func (s *server) over(r *http.Request) {
	state, ours := r.Context().Value(connectionKey{}).(*connection)
	if !ours {
		return
	}
	s.mu.Lock()
	delete(s.conns, state.conn)
	s.mu.Unlock()
	state.cancel(nil)
}

func (w *responseWriter) log() {
	log, ctx := w.server.cfg.Log, w.request.Context()
	if !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	status := w.status
	if status == 0 && !w.hijacked {
		status = http.StatusOK // net/http sends it when a handler writes nothing
	}
	attrs := []any{"method", w.request.Method, "path", problem.LogPath(w.request), "status", status,
		"ms", float64(time.Since(w.began).Microseconds()) / 1000, "bytes", w.bytes}
	if id := w.Header().Get("X-Request-Id"); id != "" {
		attrs = append(attrs, "id", id)
	}
	log.Log(ctx, slog.LevelInfo, "http: request", attrs...)
}
