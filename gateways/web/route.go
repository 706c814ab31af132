package web

import (
	"crypto/rand"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
)

// HTTP returns a handler that sends requests of a type to the client's services. It works with any
// mux:
//
//	mux.Handle("GET /books/{id}", web.HTTP(client, "getBook"))
//
// The request's body is JSON. It is an object with these members, unless the HTTP body is other
// JSON:
//
//   - the values of the path, {"id": "42"}, as strings;
//   - with a body, its members. A body with a member named like a path value, in any case, is
//     refused, so callers cannot override the path. Without path values the body may be any JSON;
//   - without a body, the parameters of the query, as strings, or as arrays of strings if they
//     are repeated. A parameter named like a path value is refused. With a body the query is in the
//     headers only.
//
// A GET without path values and query is {}, which a typed handler of any struct accepts. Bodies of
// other types that Accept allows are passed unchanged, with the parameters of their type, such as
// the boundary of multipart. Route binds to the fields of a struct instead, with types, defaults
// and checks.
//
// A GET or HEAD with a body is refused. RawBody passes bodies on byte for byte, as webhook
// signatures require.
//
// The request has headers for handlers of HandleFunc and for middleware: HeaderMethod, HeaderPath,
// HeaderQuery, HeaderPathValue with each name, and HeaderRequestID. It has HeaderIdentity if
// Authenticate returned an identity. It also has the trace ("traceparent", "tracestate",
// "baggage"), and the headers that ForwardHeaders names. No other headers are sent, in particular
// no cookies and no Authorization. Callers cannot set the gateway's headers. An invalid trace is
// replaced by a new one. A tracestate above 512 bytes and baggage above 8 KiB are left out.
//
// The service sets the reply's status, headers and content type (see Response, Answer). Without a
// status it is 200, or 204 without a body. With Authenticate, cookies or Authorization the reply is
// "Cache-Control: private", unless the service sets a Cache-Control. An invalid reply is answered
// with 502. Failures are JSON, see ErrorBody. If the caller disconnects, the call is cancelled, and
// so is the handler's context in the service.
//
// The path values are those of the standard mux's pattern. For other routers see PathValues.
func HTTP(c *gateways.Client, typ string, opts ...Option) *Endpoint {
	e, p := newEndpoint[[]byte]("HTTP", c, typ, opts)
	e.request = func(in *incoming) (gateways.Request, error) { return generic(&p, in, e.cfg.raw) }
	return e
}

// Route returns a handler for a type of request. The service's handler takes a Q, a struct. Fields
// with tags are set from other parts of the request than the body, and the body cannot set them:
//
//	type ListBooks struct {
//		Shelf  string `json:"shelf" path:"shelf"`
//		Limit  int    `json:"limit" query:"limit" default:"20"`
//		Tenant string `json:"tenant" header:"X-Tenant,required"`
//		User   string `json:"user" identity:"true"`
//	}
//
// Tagged fields are strings, numbers, booleans, time.Duration, types with UnmarshalText such as
// time.Time, pointers to these, and slices of these for repeated parameters. An empty query
// parameter is treated as missing unless the field is a string, because forms send empty fields.
// All other fields come from the JSON body. If Q has a method Validate() error, it is called; a
// *FieldError names the field to the caller. A request that can't be bound is answered with 400, in
// words that name the field, and nothing is sent.
//
// Everything else is as described at HTTP.
func Route[Q any](c *gateways.Client, typ string, opts ...Option) *Endpoint {
	e, p := newEndpoint[Q]("Route", c, typ, opts)
	m := redisio.MistakesOf("Route")
	b := binderOf[Q](m)
	m.If(e.cfg.raw, "RawBody", "is set, but Route binds the body", "use HTTP for handlers that get the bytes")
	e.err = errors.Join(e.err, m.Err())
	e.needs = b.paths()
	e.request = func(in *incoming) (gateways.Request, error) {
		q, err := bind[Q](b, in)
		if err != nil {
			return gateways.Request{}, err
		}
		return requestOfQ(&p, in, q)
	}
	return e
}

// requestOfQ makes the request of a value.
func requestOfQ[Q any](p *plan.Plan[Q], in *incoming, q Q) (gateways.Request, error) {
	key, body, err := p.Encode(q)
	return gateways.Request{Type: p.Type, Key: key, Body: body, ContentType: p.Codec.ContentType(),
		Headers: in.headers(p.Headers), Timeout: p.Timeout}, err
}

// Endpoint is the http.Handler of a route.
type Endpoint struct {
	client  *gateways.Client
	typ     string
	cfg     endpointConfig
	request func(*incoming) (gateways.Request, error)
	needs   []string // values that the path must have
	err     error    // of the configuration
	seen    atomic.Pointer[pattern]
	stats   endpointCounters
}

func newEndpoint[Q any](kind string, c *gateways.Client, typ string, opts []Option) (*Endpoint, plan.Plan[Q]) {
	e := &Endpoint{client: c, typ: typ, cfg: defaultEndpoint()}
	for _, o := range opts {
		switch o := o.(type) {
		case gateways.CallOption:
			e.cfg.call = append(e.cfg.call, o)
		case option:
			o(&e.cfg)
		}
	}
	p := plan.Of[Q](typ, e.cfg.call)
	m := redisio.MistakesOf(kind)
	m.If(c == nil, "client", "is nil", "pass one, see NewClient")
	if c != nil {
		m.Join(c.Validate())
	}
	m.Empty("typ", typ, "name the type of request that a service handles")
	m.Negative("Timeout", int64(p.Timeout), "leave it out for the client's")
	e.cfg.validate(m)
	e.err = m.Err()
	return e, p
}

// Type returns the type of the requests that the route sends.
func (e *Endpoint) Type() string { return e.typ }

// Topic returns the topic of the route's client.
func (e *Endpoint) Topic() string {
	if e.client == nil {
		return ""
	}
	return e.client.Topic()
}

// Pattern returns the mux's pattern of the last request, "" before the first.
func (e *Endpoint) Pattern() string {
	if p := e.seen.Load(); p != nil {
		return p.text
	}
	return ""
}

// Validate reports all mistakes in the route's configuration. An Endpoint with mistakes answers
// with 500.
func (e *Endpoint) Validate() error { return e.err }

// ServeHTTP answers one request.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if t := flow.TracerOf(r.Context()); t != nil {
		var end func()
		w, r, end = e.trace(t, w, r)
		defer end()
	}
	in := incoming{http: r, id: requestID(r.Header), forward: e.cfg.forward}
	defer in.body.Release()
	w.Header()["X-Request-Id"] = in.value(0, in.id)
	answer, err := e.answer(w, &in)
	in.body.Release() // before the caller receives the reply and can send the next request
	if err == nil {
		err = e.reply(w, &in, &answer)
	}
	if err != nil {
		e.refuse(w, &in, err)
		return
	}
	e.stats.answered.Add(1)
}

func (e *Endpoint) answer(w http.ResponseWriter, in *incoming) (answer gateways.Response, err error) {
	defer problem.Caught(&err)
	if e.err != nil {
		return gateways.Response{}, e.err
	}
	if err := in.checkSize(); err != nil {
		return gateways.Response{}, err
	}
	if err := e.cfg.identify(in); err != nil {
		return gateways.Response{}, err
	}
	path, err := e.pattern(in.http)
	if err != nil {
		return gateways.Response{}, err
	}
	in.names = path.names
	if err := e.cfg.read(w, in); err != nil {
		return gateways.Response{}, err
	}
	request, err := e.request(in)
	if err != nil {
		return gateways.Response{}, err
	}
	in.body.Bytes = nil // the request owns it now
	ctx := in.http.Context()
	if e.cfg.forget {
		request.ID = rand.Text()
		if err := e.client.Send(ctx, request); err != nil {
			return gateways.Response{}, err
		}
		return gateways.Response{
			Status:      http.StatusAccepted,
			ContentType: jsonType,
			Body:        []byte(`{"id":"` + request.ID + `"}`),
		}, nil
	}
	return e.client.Do(ctx, request)
}

// headers appends the headers that all requests from HTTP have to the constant ones.
func (in *incoming) headers(constant flow.Headers) flow.Headers {
	r := in.http
	h := make(flow.Headers, 0, len(constant)+7+len(in.names)+len(in.forward))
	h = append(h, constant...)
	add := func(name, value string) { h = append(h, flow.Header{Name: name, Value: value}) }
	add(gateways.HeaderMethod, r.Method)
	add(gateways.HeaderPath, r.URL.EscapedPath())
	if r.URL.RawQuery != "" {
		add(gateways.HeaderQuery, r.URL.RawQuery)
	}
	for _, name := range in.names {
		add(gateways.HeaderPathValue+name, r.PathValue(name))
	}
	for _, f := range in.forward {
		for _, v := range r.Header[f.canonical] {
			add(f.name, v)
		}
	}
	add(gateways.HeaderRequestID, in.id)
	if in.identity != "" {
		add(gateways.HeaderIdentity, in.identity)
	}
	parent, state := traceOf(r.Header)
	add(wire.Traceparent, parent)
	if state != "" {
		add(wire.Tracestate, state)
	}
	if baggage := traces.Printable(r.Header["Baggage"], traces.MaxBaggage); baggage != "" {
		add(wire.Baggage, baggage)
	}
	return h
}
