package web

import (
	"net/http"
	"strings"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
)

// trace begins the span of a request. The request and the writer that it returns belong to the span.
func (e *Endpoint) trace(
	t flow.Tracer, w http.ResponseWriter, r *http.Request,
) (http.ResponseWriter, *http.Request, func()) {
	_, route, found := strings.Cut(r.Pattern, " ")
	if !found {
		route = r.Pattern
	}
	span := t.Begin(r.Context(), flow.Work{
		Kind: flow.WorkServe, Protocol: "http", Method: r.Method, Route: route, Path: r.URL.Path,
		Meta: flow.Meta{
			Type: e.typ, Headers: traces.Outside(r.Header["Traceparent"], r.Header["Tracestate"], r.Header["Baggage"]),
		},
	})
	to := &statusWriter{ResponseWriter: w}
	end := func() {
		if to.status != 0 {
			span.Status(to.status)
		}
		span.End(flow.Acked, nil)
	}
	return to, r.WithContext(span.Context(r.Context())), end
}

// statusWriter remembers the status of the reply.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
