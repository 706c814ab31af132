// Package cors tells browsers which pages of other origins may use a handler.
package cors

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// DefaultMaxAge is how long browsers may cache the answer to a preflight.
const DefaultMaxAge = 10 * time.Minute

// Policy is what pages of other origins may do. The zero value allows nothing and sends no headers.
type Policy struct {
	Origins     []string // "*" is all
	Credentials bool     // pages may send cookies
	Methods     string   // separated by commas, as Headers and Expose
	Headers     string   // of requests
	Expose      string   // headers of replies that pages may read; "" leaves it out
	MaxAge      time.Duration
}

// CheckOrigins reports invalid origins.
func CheckOrigins(m *redisio.Mistakes, origins []string, credentials bool) {
	for _, o := range origins {
		m.If(o == "*" && credentials, "Credentials", "is set together with Origins *",
			"name the origins that may send cookies")
		m.If(o != "*" && !isOrigin(o), "Origins", "has "+strconv.Quote(o[:min(len(o), 100)]),
			"write origins like https://app.example.com")
	}
}

// isOrigin reports whether s is only a scheme and a host.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host
}

func (p *Policy) any() bool { return slices.Contains(p.Origins, "*") }

func (p *Policy) allows(origin string) bool {
	return origin != "" && (p.any() || slices.Contains(p.Origins, origin))
}

// Header sets the response headers that tell browsers which pages may read the reply.
func (p *Policy) Header(w http.ResponseWriter, r *http.Request) {
	if len(p.Origins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !p.allows(origin) {
		return
	}
	if p.any() {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if p.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if p.Expose != "" && r.Method != http.MethodOptions {
		h.Set("Access-Control-Expose-Headers", p.Expose)
	}
}

// Preflight answers the request that a browser sends before a cross-origin request that a form
// could not send.
func (p *Policy) Preflight(w http.ResponseWriter, r *http.Request) {
	if p.allows(r.Header.Get("Origin")) && r.Header.Get("Access-Control-Request-Method") != "" {
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", p.Methods)
		h.Set("Access-Control-Allow-Headers", p.Headers)
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(p.MaxAge.Seconds())))
	}
	w.WriteHeader(http.StatusNoContent)
}
