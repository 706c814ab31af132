package gateways

import (
	"net/http"
	"net/url"
)

// cors lets pages of other origins read events.
type cors struct {
	any         bool
	origins     map[string]bool
	credentials bool
}

func corsOf(cfg SSEConfig) cors {
	c := cors{origins: make(map[string]bool), credentials: cfg.Credentials}
	for _, o := range cfg.Origins {
		c.any = c.any || o == "*"
		c.origins[o] = true
	}
	return c
}

// isOrigin reports a scheme and a host, and nothing else.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host
}

func (c cors) allows(origin string) bool { return origin != "" && (c.any || c.origins[origin]) }

func (c cors) header(w http.ResponseWriter, r *http.Request) {
	if len(c.origins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case !c.allows(origin):
	case c.any:
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		h.Set("Access-Control-Allow-Origin", origin)
		if c.credentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	}
}

// preflight answers what a browser asks before it sends Last-Event-ID, or a header of the page's, to another origin.
func (c cors) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Allow", "GET, HEAD, OPTIONS")
	if c.allows(r.Header.Get("Origin")) && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", "GET")
		h.Set("Access-Control-Allow-Headers", "Last-Event-ID, Cache-Control, Authorization")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}
