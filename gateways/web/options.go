package web

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
)

// Option is an option of HTTP and Route. Each CallOption is one too. Timeout limits the wait
// for the reply; it defaults to the client's, and a timeout is answered with 504. Header sends a
// header with each request. Keyed gives requests of Route a key.
type Option interface{ RouteOption() }

type option func(*endpointConfig)

func (option) RouteOption() {}

type endpointConfig struct {
	call         []gateways.CallOption
	maxBody      int64
	accept       []string
	raw          bool
	forget       bool
	forward      []forwarded
	pass         map[string]bool
	authenticate gateways.Authenticator
	paths        []string
	log          *slog.Logger
}

// forwarded is a header that is sent with the request.
type forwarded struct{ canonical, name string }

const (
	defaultMaxBody = 1 << 20
	jsonType       = "application/json"
	octets         = "application/octet-stream"
)

func defaultEndpoint() endpointConfig {
	return endpointConfig{maxBody: defaultMaxBody, log: flow.Thinned(nil)}
}

// MaxBody limits the bytes of a request body. A longer body is answered with 413. Defaults to 1
// MiB. ClientConfig.MaxPayload limits the request as well.
func MaxBody(bytes int64) Option {
	return option(func(c *endpointConfig) { c.maxBody = bytes })
}

// Accept sets the content types of request bodies. Others are answered with 415. Defaults to
// application/json, which includes types that end in +json. HTTP passes bodies of other types to
// handlers unchanged. Route binds JSON only.
func Accept(types ...string) Option {
	return option(func(c *endpointConfig) { c.accept = append([]string{}, types...) })
}

// RawBody passes bodies to the handler byte for byte. It does not parse or check them, and does not
// merge path and query, which are in the headers only. Use it for webhooks with signatures over the
// bytes, and with handlers of HandleFunc. All content types are accepted, unless Accept names some.
// ForwardHeaders passes the signature:
//
//	web.HTTP(client, "payment", web.RawBody(), web.ForwardHeaders("X-Signature"))
func RawBody() Option { return option(func(c *endpointConfig) { c.raw = true }) }

// FireAndForget answers with 202 and {"id": …}, the request's ID, as soon as Redis has stored the
// request. It does not wait for the service.
func FireAndForget() Option { return option(func(c *endpointConfig) { c.forget = true }) }

// ForwardHeaders sends the named headers of the caller with the request, under their names in lower
// case. Defaults to none. Hop-by-hop headers are never sent.
func ForwardHeaders(names ...string) Option {
	return option(func(c *endpointConfig) {
		for _, n := range names {
			c.forward = append(c.forward, forwarded{http.CanonicalHeaderKey(n), strings.ToLower(n)})
		}
	})
}

// PassHeaders lets services set headers that affect the whole site, such as Set-Cookie,
// Access-Control-Allow-Origin and Strict-Transport-Security. Without it they are removed from
// replies. Other headers need no PassHeaders.
func PassHeaders(names ...string) Option {
	return option(func(c *endpointConfig) {
		if c.pass == nil {
			c.pass = make(map[string]bool)
		}
		for _, n := range names {
			c.pass[http.CanonicalHeaderKey(n)] = true
		}
	})
}

// Authenticate identifies the caller. Its User is sent as HeaderIdentity, which callers cannot set;
// "" is an anonymous caller and sends none. Without Authenticate all callers are anonymous.
func Authenticate(who gateways.Authenticator) Option {
	return option(func(c *endpointConfig) { c.authenticate = who })
}

// PathValues names the path values for routers that call http.Request.SetPathValue without setting
// Pattern, unlike the standard mux. Defaults to the wildcards of the Pattern.
func PathValues(names ...string) Option {
	return option(func(c *endpointConfig) { c.paths = names })
}

// Log sets the route's logger. It receives faults of services and Redis, such as invalid
// replies. Defaults to the warnings and errors of slog.Default, see flow.Logger.
func Log(log *slog.Logger) Option {
	return option(func(c *endpointConfig) {
		if log != nil {
			c.log = flow.Thinned(log)
		}
	})
}

func (c *endpointConfig) validate(m *redisio.Mistakes) {
	m.If(c.maxBody < 1, "MaxBody", "is less than a byte", "leave it out for 1 MiB")
	for i, t := range c.accept {
		c.accept[i] = strings.ToLower(t)
		m.If(strings.Count(t, "/") != 1 || strings.ContainsAny(t, "; *"), "Accept", "has "+quoted(t),
			`name types without parameters, such as "text/plain"`)
	}
	switch {
	case c.accept == nil && !c.raw:
		c.accept = []string{jsonType}
	case c.accept != nil && len(c.accept) == 0:
		m.Add("Accept", "is empty", "leave it out for application/json")
	}
	for _, f := range c.forward {
		switch {
		case !validName(f.name):
			m.Add("ForwardHeaders", "has "+quoted(f.name)+", an invalid header name", "name headers, such as X-Tenant")
		case hopByHop[f.canonical]:
			m.Add("ForwardHeaders", "has "+f.canonical+", a hop-by-hop header", "leave it out")
		case ours(f.name):
			m.Add("ForwardHeaders", "has "+f.canonical+", which the gateway sets", "leave it out; callers can't set it")
		}
	}
	for n := range c.pass {
		m.If(hopByHop[n] || n == "Content-Length" || n == "Content-Type", "PassHeaders",
			"has "+n+", which the gateway sets", "leave it out")
	}
}

// ours reports whether only the gateway sets a header.
func ours(name string) bool {
	return name == gateways.HeaderRequestID || name == gateways.HeaderIdentity || name == wire.Traceparent ||
		name == wire.Tracestate || name == wire.Baggage ||
		strings.HasPrefix(name, "http-")
}
