package gateways

import (
	"crypto/rand"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// HTTP is a route to a type of request, for any mux: the client's services answer it.
//
//	mux.Handle("GET /books/{id}", gateways.HTTP(client, "getBook"))
//
// What the handler gets is JSON, an object unless the body says otherwise:
//
//   - the values of the path, {"id": "42"}, as strings;
//   - with a body, its members. A body that has a member named like a value of the path, in upper or lower case, is refused: what the
//     path says can't be forged. Without values in the path the body may be any JSON;
//   - without a body, the parameters of the query, as strings, or arrays of strings for those that come more than once. One
//     that is named like a value of the path is refused. With a body the query is in the headers only.
//
// So a GET without all of these is {}, which a typed handler of any struct takes. Bodies of other
// types that Accept allows go as they are, with the parameters of their type, such as the boundary
// of multipart. Route binds to the fields of a struct instead, with types, defaults and checks.
//
// A GET or HEAD with a body is refused. RawBody passes bodies on byte for byte, as signatures of webhooks need it.
//
// The request has headers, for handlers of HandleFunc and for middleware: HeaderMethod, HeaderPath,
// HeaderQuery, HeaderPathValue with each name, HeaderRequestID, HeaderIdentity if Authenticate
// found one, "traceparent", and those that ForwardHeaders names. No other header of the caller's
// travels, least of all cookies and Authorization, and none of these can be set by the caller.
//
// The reply's status, headers and content type are the service's (see Response, Answer); without a
// status it is 200, or 204 if there is no body. With Authenticate, cookies or Authorization the
// reply is "Cache-Control: private", unless the service sets a Cache-Control. A reply that makes no
// sense is 502. Failures are JSON, see HTTPError. When the caller goes away the call is cancelled,
// in the service too.
//
// The path values are those of the standard mux's pattern; for other routers see PathValues.
func HTTP(c *Client, typ string, opts ...RouteOption) *Endpoint {
	e := newEndpoint("HTTP", c, typ, opts)
	p := planOf[[]byte](typ, e.cfg.call)
	e.request = func(in *incoming) (Request, error) { return generic(&p, in, e.cfg.raw) }
	return e
}

// Route is a route to a type of request whose handler takes a Q, a struct. Its fields with tags
// come from elsewhere than the body, which can't set them:
//
//	type ListBooks struct {
//		Shelf  string `json:"shelf" path:"shelf"`
//		Limit  int    `json:"limit" query:"limit" default:"20"`
//		Tenant string `json:"tenant" header:"X-Tenant,required"`
//		User   string `json:"user" identity:"true"`
//	}
//
// Such fields are strings, numbers, booleans, time.Duration, anything with UnmarshalText as
// time.Time, pointers to these, and slices of these for what may come more than once. Forms send
// empty parameters for fields that were left empty: they count as missing, unless the field is a
// string. All other fields are the JSON body's. If Q has a method Validate() error it is asked; a
// *FieldError names the field to the caller. What can't be bound is answered with 400 before
// anything is sent, in words that name the field.
//
// The rest is as HTTP says.
func Route[Q any](c *Client, typ string, opts ...RouteOption) *Endpoint {
	e := newEndpoint("Route", c, typ, opts)
	b, err := binderOf[Q]()
	e.mistake(err)
	if e.cfg.raw {
		e.mistake(&redisio.ConfigError{Type: "Route", Field: "RawBody", Problem: "is set, and Route binds the body",
			Fix: "use HTTP for handlers that get the bytes"})
	}
	p := planOf[Q](typ, e.cfg.call)
	e.needs = b.paths()
	e.request = func(in *incoming) (Request, error) {
		q, err := bind[Q](b, in)
		if err != nil {
			return Request{}, err
		}
		r, err := p.request(q)
		r.Headers = in.headers(r.Headers)
		return r, err
	}
	return e
}

// Endpoint is a route as an http.Handler.
type Endpoint struct {
	client  *Client
	cfg     endpointConfig
	request func(*incoming) (Request, error)
	needs   []string // values that the path must have
	err     error    // of the configuration
	seen    atomic.Pointer[pattern]
	stats   endpointCounters
}

func newEndpoint(kind string, c *Client, typ string, opts []RouteOption) *Endpoint {
	e := &Endpoint{client: c, cfg: defaultEndpoint()}
	for _, o := range opts {
		o.apply(&e.cfg)
	}
	bad := func(field, problem, fix string) {
		e.mistake(&redisio.ConfigError{Type: kind, Field: field, Problem: problem, Fix: fix})
	}
	if c == nil {
		bad("client", "is nil", "pass one, see NewClient")
	} else {
		e.mistake(c.err)
	}
	if typ == "" {
		bad("typ", "is empty", "name the type of request that a service handles")
	}
	e.cfg.validate(bad)
	return e
}

func (e *Endpoint) mistake(err error) { e.err = errors.Join(e.err, err) }

// Validate reports all mistakes in how the route was made. An Endpoint with mistakes answers with 500.
func (e *Endpoint) Validate() error { return e.err }

// ServeHTTP answers one request.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := incoming{http: r, id: requestID(r.Header), forward: e.cfg.forward}
	defer in.release()
	w.Header()["X-Request-Id"] = []string{in.id}
	answer, err := e.answer(w, &in)
	in.release() // before the caller can ask again
	if err == nil {
		err = e.reply(w, r, &answer)
	}
	if err != nil {
		e.refuse(w, &in, err)
		return
	}
	e.stats.answered.Add(1)
}

func (e *Endpoint) answer(w http.ResponseWriter, in *incoming) (answer Response, err error) {
	defer caught(&err)
	if e.err != nil {
		return Response{}, e.err
	}
	if err := in.checkSize(); err != nil {
		return Response{}, err
	}
	if err := e.cfg.identify(in); err != nil {
		return Response{}, err
	}
	path, err := e.pattern(in.http)
	if err != nil {
		return Response{}, err
	}
	in.names = path.names
	if err := e.cfg.read(w, in); err != nil {
		return Response{}, err
	}
	request, err := e.request(in)
	if err != nil {
		return Response{}, err
	}
	in.body = nil // the request has it
	ctx := in.http.Context()
	if e.cfg.forget {
		request.ID = rand.Text()
		if err := e.client.Send(ctx, request); err != nil {
			return Response{}, err
		}
		return Response{
			Status:      http.StatusAccepted,
			ContentType: jsonType,
			Body:        []byte(`{"id":"` + request.ID + `"}`),
		}, nil
	}
	return e.client.Do(ctx, request)
}

// Names of headers that requests from HTTP have.
const (
	HeaderMethod    = "http-method"
	HeaderPath      = "http-path"  // escaped
	HeaderQuery     = "http-query" // as it came, without the question mark
	HeaderPathValue = "http-path-" // and the name of the value, as "http-path-id"
	HeaderRequestID = "request-id"
	HeaderIdentity  = "identity" // who the caller is, as Authenticate says
)

// headers puts what every request from HTTP carries behind those that are constant.
func (in *incoming) headers(constant flow.Headers) flow.Headers {
	r := in.http
	h := make(flow.Headers, 0, len(constant)+7+len(in.names)+len(in.forward))
	h = append(h, constant...)
	add := func(name, value string) { h = append(h, flow.Header{Name: name, Value: value}) }
	add(HeaderMethod, r.Method)
	add(HeaderPath, r.URL.EscapedPath())
	if r.URL.RawQuery != "" {
		add(HeaderQuery, r.URL.RawQuery)
	}
	for _, name := range in.names {
		add(HeaderPathValue+name, r.PathValue(name))
	}
	for _, f := range in.forward {
		for _, v := range r.Header[f.canonical] {
			add(f.name, v)
		}
	}
	add(HeaderRequestID, in.id)
	if in.identity != "" {
		add(HeaderIdentity, in.identity)
	}
	add(traceparent, traceOf(r.Header))
	return h
}
