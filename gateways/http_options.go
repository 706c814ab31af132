package gateways

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// RouteOption is an option of HTTP and Route. The options of Call are too: Timeout bounds the wait
// for the reply (the default is the client's, and what is late is answered with 504), Header sends
// a header with each request, Keyed gives requests of Route a key.
type RouteOption interface{ apply(*endpointConfig) }

type routeOption func(*endpointConfig)

func (o routeOption) apply(c *endpointConfig) { o(c) }

// apply makes each CallOption a RouteOption.
func (o CallOption) apply(c *endpointConfig) {
	c.call = append(c.call, o)
	var call callConfig
	if o(&call); call.timeout != 0 {
		c.timeout = call.timeout
	}
}

type endpointConfig struct {
	call         []CallOption
	timeout      time.Duration
	maxBody      int64
	accept       []string
	raw          bool
	forget       bool
	forward      []forwarded
	pass         map[string]bool
	authenticate func(*http.Request) (string, error)
	paths        []string
	log          *slog.Logger
}

// forwarded is a header that travels.
type forwarded struct{ canonical, name string }

const (
	defaultMaxBody = 1 << 20
	jsonType       = "application/json"
	octets         = "application/octet-stream"
)

func defaultEndpoint() endpointConfig {
	return endpointConfig{maxBody: defaultMaxBody, log: flow.Thinned(nil)}
}

// MaxBody bounds the bytes of a body; what is longer is answered with 413. The default is 1 MiB.
// The client has a bound of its own, ClientConfig.MaxPayload.
func MaxBody(bytes int64) RouteOption {
	return routeOption(func(c *endpointConfig) { c.maxBody = bytes })
}

// Accept says which content types bodies may have; others are answered with 415. The default is
// application/json, which stands for those that end in +json too. Bodies that are not JSON reach
// handlers as they are, see HTTP; Route takes JSON only.
func Accept(types ...string) RouteOption {
	return routeOption(func(c *endpointConfig) { c.accept = append([]string{}, types...) })
}

// RawBody passes bodies to the handler byte for byte: nothing of them is parsed, checked or merged with
// the path and the query, which are in the headers alone. It is for webhooks, because their signatures cover
// the bytes. Handle them by HandleFunc. Bodies of all content types are taken, unless Accept
// names some. ForwardHeaders passes the signature:
//
//	gateways.HTTP(client, "payment", gateways.RawBody(), gateways.ForwardHeaders("X-Signature"))
func RawBody() RouteOption { return routeOption(func(c *endpointConfig) { c.raw = true }) }

// FireAndForget answers with 202, and {"id": …}, the ID of the request, when Redis has it. Nobody
// waits for the service.
func FireAndForget() RouteOption { return routeOption(func(c *endpointConfig) { c.forget = true }) }

// ForwardHeaders has headers of the caller travel with the request, under their names in lower
// case. The default is none. Headers of the connection never do.
func ForwardHeaders(names ...string) RouteOption {
	return routeOption(func(c *endpointConfig) {
		for _, n := range names {
			c.forward = append(c.forward, forwarded{http.CanonicalHeaderKey(n), strings.ToLower(n)})
		}
	})
}

// PassHeaders lets services set headers that are otherwise left out of replies because they speak
// for the whole site, as Set-Cookie, Access-Control-Allow-Origin and Strict-Transport-Security. All
// that do not may be set without.
func PassHeaders(names ...string) RouteOption {
	return routeOption(func(c *endpointConfig) {
		if c.pass == nil {
			c.pass = make(map[string]bool)
		}
		for _, n := range names {
			c.pass[http.CanonicalHeaderKey(n)] = true
		}
	})
}

// Authenticate says who the caller is. The identity travels as HeaderIdentity, which callers cannot
// set; "" is nobody in particular, and has none. An error is answered with 401, and nothing of it
// but what a *RemoteError says, which may have another code too, as CodeForbidden. The default is
// to ask nobody.
func Authenticate(who func(*http.Request) (identity string, err error)) RouteOption {
	return routeOption(func(c *endpointConfig) { c.authenticate = who })
}

// PathValues names the values of the path, for routers other than the standard mux that set them by
// http.Request's SetPathValue but no Pattern. The default is the wildcards of the Pattern.
func PathValues(names ...string) RouteOption {
	return routeOption(func(c *endpointConfig) { c.paths = names })
}

// RouteLog gives the route a logger. It gets what is wrong with services: replies that make no sense, Redis that
// does not answer. Defaults to the warnings and errors of slog.Default, see flow.Logger.
func RouteLog(log *slog.Logger) RouteOption {
	return routeOption(func(c *endpointConfig) {
		if log != nil {
			c.log = flow.Thinned(log)
		}
	})
}

func (c *endpointConfig) validate(bad func(field, problem, fix string)) {
	if c.timeout < 0 {
		bad("Timeout", "is negative", "leave it out for the client's")
	}
	if c.maxBody < 1 {
		bad("MaxBody", "is less than a byte", "leave it out for 1 MiB")
	}
	for i, t := range c.accept {
		c.accept[i] = strings.ToLower(t)
		if strings.Count(t, "/") != 1 || strings.ContainsAny(t, "; *") {
			bad("Accept", "has "+quoted(t), `name types without parameters, as "text/plain"`)
		}
	}
	switch {
	case c.accept == nil && !c.raw:
		c.accept = []string{jsonType}
	case c.accept != nil && len(c.accept) == 0:
		bad("Accept", "is empty", "leave it out for application/json")
	}
	for _, f := range c.forward {
		switch {
		case !validName(f.name):
			bad("ForwardHeaders", "has "+quoted(f.name)+", which is no name of a header", "name headers, as X-Tenant")
		case hopByHop[f.canonical]:
			bad("ForwardHeaders", "has "+f.canonical+", which is of the connection", "leave it out")
		case ours(f.name):
			bad(
				"ForwardHeaders",
				"has "+f.canonical+", a name that the gateway itself sets",
				"leave it out; callers can't set it",
			)
		}
	}
	for n := range c.pass {
		if hopByHop[n] || n == "Content-Length" || n == "Content-Type" {
			bad("PassHeaders", "has "+n+", which is the gateway's", "leave it out")
		}
	}
}

// ours reports names of headers that only the gateway sets.
func ours(name string) bool {
	return name == HeaderRequestID || name == HeaderIdentity || name == traceparent || strings.HasPrefix(name, "http-")
}
