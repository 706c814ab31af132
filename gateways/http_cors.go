package gateways

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

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
	// Headers are the request headers that these pages may set. Defaults to Authorization,
	// Content-Type, Last-Event-ID, Traceparent and X-Request-Id.
	Headers []string
	// Expose are the response headers that these pages may read, in addition to the few that all
	// pages may read. Defaults to Location, Retry-After and X-Request-Id.
	Expose []string
	// MaxAge is how long a browser may cache the answer to a preflight. Defaults to 10 minutes.
	MaxAge time.Duration
}

const defaultCORSAge = 10 * time.Minute

// CORSHandler is a handler that pages of other origins may use; see CORS.
type CORSHandler struct {
	next http.Handler
	cors cors
	err  error // of the configuration
}

// CORS lets pages of other origins use a handler, usually a mux, and read its replies. It answers
// the preflights of browsers itself, because they match no pattern of a mux that names another
// method.
//
//	mux.Handle("PUT /books/{id}", gateways.HTTP(client, "putBook"))
//	app := []string{"https://app.example.com"}
//	h := gateways.CORS(mux, gateways.CORSConfig{Origins: app})
//	err := gateways.Serve(ctx, l, h, gateways.ServerConfig{TrustedOrigins: app})
//
// Serve refuses cross-origin requests that change something, unless TrustedOrigins names the origin
// too. SSE has its own Origins and does not need CORS.
func CORS(h http.Handler, cfg CORSConfig) *CORSHandler {
	c := &CORSHandler{next: h, cors: corsOf(cfg), err: cfg.validate()}
	if h == nil {
		c.err = errors.Join(c.err, &redisio.ConfigError{Type: "CORS", Field: "h", Problem: "is nil",
			Fix: "pass a handler, such as a mux"})
	}
	return c
}

func (c CORSConfig) validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &redisio.ConfigError{Type: "CORSConfig", Field: field, Problem: problem, Fix: fix})
	}
	if len(c.Origins) == 0 {
		bad("Origins", "is empty", `name origins like https://app.example.com, or "*"`)
	}
	checkOrigins(c.Origins, c.Credentials, bad)
	for field, names := range map[string][]string{"Methods": c.Methods, "Headers": c.Headers, "Expose": c.Expose} {
		for _, n := range names {
			if !validName(n) {
				bad(field, "has "+quoted(n), "write names alone, one per element")
			}
		}
	}
	if c.MaxAge < 0 {
		bad("MaxAge", "is negative", "leave it 0 for 10 minutes")
	}
	return errors.Join(errs...)
}

func checkOrigins(origins []string, credentials bool, bad func(field, problem, fix string)) {
	for _, o := range origins {
		switch {
		case o == "*" && credentials:
			bad("Credentials", "is set together with Origins *", "name the origins that may send cookies")
		case o != "*" && !isOrigin(o):
			bad("Origins", "has "+quoted(o), "write origins like https://app.example.com")
		}
	}
}

// Validate reports all mistakes in the configuration. A CORSHandler with mistakes answers with 500.
func (c *CORSHandler) Validate() error { return c.err }

// ServeHTTP answers a preflight, or calls the handler.
func (c *CORSHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.err != nil {
		refusal{Status: http.StatusInternalServerError, Code: CodeInternal,
			Message: "server misconfigured"}.write(w)
		return
	}
	c.cors.header(w, r)
	if r.Method == http.MethodOptions && r.Header.Get("Origin") != "" &&
		r.Header.Get("Access-Control-Request-Method") != "" {
		c.cors.preflight(w, r)
		return
	}
	c.next.ServeHTTP(w, r)
}

// cors holds what pages of other origins may do.
type cors struct {
	any         bool
	origins     map[string]bool
	credentials bool

	methods, headers, expose, age string
}

func corsOf(cfg CORSConfig) cors {
	list := func(names []string, fallback string) string {
		if len(names) == 0 {
			return fallback
		}
		return strings.Join(names, ", ")
	}
	def(&cfg.MaxAge, defaultCORSAge)
	c := cors{
		origins: make(map[string]bool), credentials: cfg.Credentials,
		methods: list(cfg.Methods, "GET, HEAD, POST, PUT, PATCH, DELETE"),
		headers: list(cfg.Headers, "Authorization, Content-Type, Last-Event-ID, Traceparent, X-Request-Id"),
		expose:  list(cfg.Expose, "Location, Retry-After, X-Request-Id"),
		age:     strconv.Itoa(int(cfg.MaxAge.Seconds())),
	}
	for _, o := range cfg.Origins {
		c.any = c.any || o == "*"
		c.origins[o] = true
	}
	return c
}

// isOrigin reports whether s is only a scheme and a host.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host
}

func (c *cors) allows(origin string) bool { return origin != "" && (c.any || c.origins[origin]) }

// header sets the response headers that tell browsers which pages may read the reply.
func (c *cors) header(w http.ResponseWriter, r *http.Request) {
	if len(c.origins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !c.allows(origin) {
		return
	}
	if c.any {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if c.expose != "" && r.Method != http.MethodOptions {
		h.Set("Access-Control-Expose-Headers", c.expose)
	}
}

// preflight answers the request that a browser sends before a cross-origin request that a form
// could not send.
func (c *cors) preflight(w http.ResponseWriter, r *http.Request) {
	if c.allows(r.Header.Get("Origin")) && r.Header.Get("Access-Control-Request-Method") != "" {
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", c.methods)
		h.Set("Access-Control-Allow-Headers", c.headers)
		h.Set("Access-Control-Max-Age", c.age)
	}
	w.WriteHeader(http.StatusNoContent)
}
