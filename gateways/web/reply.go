package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
)

// hopByHop are headers that apply to a connection, not to a message.
var hopByHop = map[string]bool{
	"Connection":          true,
	"Keep-Alive":          true,
	"Proxy-Authenticate":  true,
	"Proxy-Authorization": true,
	"Proxy-Connection":    true,
	"Te":                  true,
	"Trailer":             true,
	"Transfer-Encoding":   true,
	"Upgrade":             true,
	"Http2-Settings":      true,
}

// siteWide are headers that affect the whole site, or the proxies in front of it.
var siteWide = map[string]bool{
	"Set-Cookie":                true,
	"Strict-Transport-Security": true,
	"Public-Key-Pins":           true,
	"Clear-Site-Data":           true,
	"Alt-Svc":                   true,
	"Service-Worker-Allowed":    true,
	"Report-To":                 true,
	"Reporting-Endpoints":       true,
	"Nel":                       true,
	"X-Sendfile":                true,
	"Accept-Ch":                 true,
	"Sourcemap":                 true,
	"X-Sourcemap":               true,
	"Refresh":                   true,
	"Www-Authenticate":          true,
	"Origin-Agent-Cluster":      true,
}

// mayPass reports whether a service may set a header.
func (c *endpointConfig) mayPass(name string) bool {
	switch {
	case hopByHop[name] || name == "Content-Length" || name == "Content-Type" || name == "Date" ||
		name == "Server" || name == "X-Request-Id" || name == "X-Content-Type-Options":
		return false
	case siteWide[name] || strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "X-Accel-"):
		return c.pass[name]
	}
	return true
}

// reply writes the service's reply. An error reports an invalid reply; then nothing has been
// written.
func (e *Endpoint) reply(w http.ResponseWriter, in *incoming, a *gateways.Response) error {
	nonsense := func(format string, args ...any) error {
		return fmt.Errorf(
			"%s: %w",
			fmt.Sprintf(format, args...),
			problem.New(gateways.CodeBadReply, "invalid reply from the service"),
		)
	}
	status := a.Status
	switch {
	case status == 0 && len(a.Body) == 0:
		status = http.StatusNoContent
	case status == 0:
		status = http.StatusOK
	case status < 200 || status > 599:
		return nonsense("status %d", status)
	}
	media := a.ContentType
	switch {
	case media == "":
		media = octets
	case strings.EqualFold(media, "text/plain"):
		media = "text/plain; charset=utf-8"
	}
	if !validValue(media) {
		return nonsense("content type %.100q", media)
	}
	for _, p := range a.Headers {
		if !validName(p.Name) || !validValue(p.Value) {
			return nonsense("header %.100q", p.Name)
		}
	}
	h, r := w.Header(), in.http
	for _, p := range a.Headers {
		if name := http.CanonicalHeaderKey(p.Name); e.cfg.mayPass(name) {
			h[name] = append(h[name], p.Value)
		}
	}
	h["X-Content-Type-Options"] = noSniff
	if len(h["Cache-Control"]) == 0 && (e.cfg.authenticate != nil || len(r.Header["Authorization"]) > 0 ||
		len(r.Header["Cookie"]) > 0) {
		h["Cache-Control"] = private
	}
	if wire.Bodiless(status) {
		w.WriteHeader(status)
		return nil
	}
	switch {
	case len(a.Body) == 0 && a.ContentType == "": // usually a redirect
	case media == jsonType:
		h["Content-Type"] = jsonTypes
	default:
		h["Content-Type"] = []string{media}
	}
	h["Content-Length"] = in.value(1, strconv.Itoa(len(a.Body)))
	w.WriteHeader(status)
	_, _ = w.Write(a.Body) // the caller may have disconnected
	return nil
}

// value returns the value of a header of the reply, in the memory of the request.
func (in *incoming) value(at int, v string) []string {
	in.values[at] = v
	return in.values[at : at+1 : at+1]
}

// Values that all replies share. They must not be modified.
var (
	noSniff   = []string{"nosniff"}
	jsonTypes = []string{jsonType}
	private   = []string{"private"}
)

// validName reports whether name is a token of RFC 9110.
func validName(name string) bool {
	if name == "" || len(name) > 256 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return true
}

// validValue reports whether v has no line breaks and no other control characters.
func validValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// EndpointStats has the numbers of requests by outcome.
type EndpointStats struct {
	Answered   uint64 // by the service, or stored with FireAndForget
	Refused    uint64 // with 400 to 499: by the gateway, or by the service's error
	Overloaded uint64 // with 503
	Failed     uint64 // with another status of 500 or more
	Gone       uint64 // the caller disconnected first; the log shows 499
}

type endpointCounters struct{ answered, refused, overloaded, failed, gone atomic.Uint64 }

func (c *endpointCounters) count(status int) {
	switch {
	case status < 500:
		c.refused.Add(1)
	case status == http.StatusServiceUnavailable:
		c.overloaded.Add(1)
	default:
		c.failed.Add(1)
	}
}

// Stats returns the counts since the endpoint was created.
func (e *Endpoint) Stats() EndpointStats {
	c := &e.stats
	return EndpointStats{
		Answered:   c.answered.Load(),
		Refused:    c.refused.Load(),
		Overloaded: c.overloaded.Load(),
		Failed:     c.failed.Load(),
		Gone:       c.gone.Load(),
	}
}
