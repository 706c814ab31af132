package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"time"
)

// routeByHand is a hand-written service with the features of a Service, behind a hand-written
// handler with the features of a route.
func routeByHand(ctx context.Context, t *Trial) (call, error) {
	s := newConcurrent(t)
	c, err := s.start(ctx, s.serve, s.reply)
	c.handler = http.HandlerFunc(s.route)
	return c, err
}

// route limits and checks the body, which must be JSON. It sends the request with its method,
// path, request ID and trace, and returns the request ID with the answer.
func (s *concurrent) route(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 64 {
		id = rand.Text()
	}
	w.Header().Set("X-Request-Id", id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		http.Error(w, "send JSON", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !json.Valid(body) {
		http.Error(w, "the body must be one JSON value", http.StatusBadRequest)
		return
	}
	answer, err := s.call(r.Context(), string(body), []any{"h:method", r.Method, "h:path", r.URL.EscapedPath(),
		"h:request-id", id, "traceparent", traceByHand(r.Header)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, answer)
}

func traceByHand(h http.Header) string {
	if t := h.Get("Traceparent"); len(t) == 55 {
		return t
	}
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails
	return "00-" + hex.EncodeToString(id[:16]) + "-" + hex.EncodeToString(id[16:]) + "-01"
}

// servePatiently is servePlain with the timeouts of a server that faces the internet.
func servePatiently(ctx context.Context, l net.Listener, h http.Handler) error {
	return serveWith(ctx, l, &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 2 * handPatience, IdleTimeout: 2 * time.Minute})
}
