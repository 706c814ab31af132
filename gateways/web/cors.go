package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/cors"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/redisio"
)

// CORSConfig configures CORS. Origins is required; the zero value of the rest is the default.
type CORSConfig struct {
	// Origins are the origins of the pages that may use the handler, such as
	// https://app.example.com, or "*" for all.
	Origins []string
	// Credentials lets these pages send cookies. It can't be combined with "*". Defaults to false.
	Credentials bool
	// Methods are the methods that these pages may use. Defaults to GET, HEAD, POST, PUT, PATCH and
	// DELETE.
	Methods []string
	// Headers are the request headers that these pages may set. Defaults to Authorization, Baggage,
	// Content-Type, Last-Event-ID, Traceparent, Tracestate and X-Request-Id.
	Headers []string
	// Expose are the response headers that these pages may read, in addition to the few that all
	// pages may read. Defaults to Location, Retry-After and X-Request-Id.
	Expose []string
	// MaxAge is how long a browser may cache the answer to a preflight. Defaults to 10 minutes.
	MaxAge time.Duration
}

// CORSHandler is a handler that pages of other origins may use; see CORS.
type CORSHandler struct {
	next http.Handler
	cors *cors.Policy
	err  error // of the configuration
}

// CORS lets pages of other origins use a handler, usually a mux, and read its replies. It answers
// the preflights of browsers itself, because they match no pattern of a mux that names another
// method.
//
//	mux.Handle("PUT /books/{id}", web.HTTP(client, "putBook"))
//	app := []string{"https://app.example.com"}
//	h := web.CORS(mux, web.CORSConfig{Origins: app})
//	err := web.Serve(ctx, l, h, web.ServerConfig{TrustedOrigins: app})
//
// Serve refuses cross-origin requests that change something, unless TrustedOrigins names the origin
// too. SSE has its own Origins and does not need CORS.
func CORS(h http.Handler, cfg CORSConfig) *CORSHandler {
	m := redisio.MistakesOf("CORS")
	m.Join(cfg.validate())
	m.If(h == nil, "h", "is nil", "pass a handler, such as a mux")
	return &CORSHandler{next: h, cors: policyOf(cfg), err: m.Err()}
}

func (c CORSConfig) validate() error {
	m := redisio.MistakesOf("CORSConfig")
	m.If(len(c.Origins) == 0, "Origins", "is empty", `name origins like https://app.example.com, or "*"`)
	cors.CheckOrigins(m, c.Origins, c.Credentials)
	for field, names := range map[string][]string{"Methods": c.Methods, "Headers": c.Headers, "Expose": c.Expose} {
		for _, n := range names {
			m.If(!validName(n), field, "has "+quoted(n), "write names alone, one per element")
		}
	}
	m.Negative("MaxAge", int64(c.MaxAge), "leave it 0 for 10 minutes")
	return m.Err()
}

// Validate reports all mistakes in the configuration. A CORSHandler with mistakes answers with 500.
func (c *CORSHandler) Validate() error { return c.err }

// ServeHTTP answers a preflight, or calls the handler.
func (c *CORSHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.err != nil {
		problem.New(gateways.CodeInternal, "server misconfigured").Write(w)
		return
	}
	c.cors.Header(w, r)
	if r.Method == http.MethodOptions && r.Header.Get("Origin") != "" &&
		r.Header.Get("Access-Control-Request-Method") != "" {
		c.cors.Preflight(w, r)
		return
	}
	c.next.ServeHTTP(w, r)
}

func policyOf(cfg CORSConfig) *cors.Policy {
	list := func(names []string, fallback string) string {
		if len(names) == 0 {
			return fallback
		}
		return strings.Join(names, ", ")
	}
	return &cors.Policy{
		Origins:     slices.Clone(cfg.Origins),
		Credentials: cfg.Credentials,
		Methods:     list(cfg.Methods, "GET, HEAD, POST, PUT, PATCH, DELETE"),
		Headers: list(cfg.Headers, "Authorization, Baggage, Content-Type, Last-Event-ID, Traceparent, "+
			"Tracestate, X-Request-Id"),
		Expose: list(cfg.Expose, "Location, Retry-After, X-Request-Id"),
		MaxAge: cmp.Or(cfg.MaxAge, cors.DefaultMaxAge),
	}
}
