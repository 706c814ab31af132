package gateways_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// What path, query and body make.
func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.mux.Handle("/plain", gateways.HTTP(e.client, "echo"))
	e.mux.Handle("/books/{id}", gateways.HTTP(e.client, "echo"))
	e.mux.Handle("/shelves/{shelf}/books/{rest...}", gateways.HTTP(e.client, "echo"))
	for name, c := range map[string]struct {
		r    *http.Request
		want string
	}{
		"nothing":                {asked("GET", "/plain", ""), `{}`},
		"query":                  {asked("GET", "/plain?q=a+b&limit=3", ""), `{"limit":"3","q":"a b"}`},
		"query, more than once":  {asked("GET", "/plain?tag=a&tag=%22b%22", ""), `{"tag":["a","\"b\""]}`},
		"path":                   {asked("GET", "/books/42", ""), `{"id":"42"}`},
		"path with an escape":    {asked("GET", "/books/a%2Fb%20%C3%A9", ""), `{"id":"a/b é"}`},
		"path and query":         {asked("GET", "/books/42?full=true", ""), `{"id":"42","full":"true"}`},
		"two in the path":        {asked("GET", "/shelves/7/books/a/b", ""), `{"shelf":"7","rest":"a/b"}`},
		"body":                   {asked("POST", "/plain", ` {"a": [1, 2.50, null]} `), ` {"a": [1, 2.50, null]} `},
		"body that is no object": {asked("POST", "/plain", `[1]`), `[1]`},
		"path and body":          {asked("PUT", "/books/42", `{"title":"x","n":1e400}`), `{"id":"42","title":"x","n":1e400}`},
		"path and empty object":  {asked("PUT", "/books/42", " { } "), `{"id":"42"}`},
		"query beside a body":    {asked("PUT", "/books/42?title=y", `{"title":"x"}`), `{"id":"42","title":"x"}`},
		"DELETE":                 {asked("DELETE", "/books/42", ""), `{"id":"42"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(e.mux, c.r)
			if got.status != http.StatusOK || got.body != c.want ||
				got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s (%s), want %s", got.status, got.body, got.header.Get("Content-Type"), c.want)
			}
		})
	}
}

// Other routers than the standard one name the values of the path themselves.
func TestHTTPPathValuesOfOtherRouters(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	r := asked("GET", "/anything", "")
	r.SetPathValue("id", "42")
	if got := ask(gateways.HTTP(e.client, "echo", gateways.PathValues("id")), r); got.body != `{"id":"42"}` {
		t.Error(got)
	}
}

func TestHTTPHeaders(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.mux.Handle(
		"/books/{id}",
		gateways.HTTP(
			e.client,
			"echo",
			gateways.ForwardHeaders("X-Tenant", "If-Match"),
			gateways.Header("from", "edge"),
		),
	)
	got := ask(
		e.mux,
		asked(
			"GET",
			"/books/a%2Fb?q=%31",
			"",
			"X-Tenant: blue",
			"X-Tenant: green",
			"If-Match: \"1\"",
			"Cookie: secret",
			"Authorization: Bearer secret",
			"X-Other: 1",
			"X-Request-Id: r-1",
			"Traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-00",
		),
	)
	r, _ := e.request()
	want := flow.Headers{
		{Name: "from", Value: "edge"},
		{Name: "http-method", Value: "GET"},
		{Name: "http-path", Value: "/books/a%2Fb"},
		{
			Name:  "http-query",
			Value: "q=%31",
		},
		{Name: "http-path-id", Value: "a/b"},
		{Name: "x-tenant", Value: "blue"},
		{Name: "x-tenant", Value: "green"},
		{Name: "if-match", Value: `"1"`},
		{Name: "request-id", Value: "r-1"},
		{Name: "traceparent", Value: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"},
	}
	if diff := cmp.Diff(want, r.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got.header.Get("X-Request-Id") != "r-1" {
		t.Errorf("the request's name came back as %q", got.header.Get("X-Request-Id"))
	}
}

// A request without a name or a trace, or with ones that are not fit, gets new ones.
func TestHTTPMakesIDs(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	h := gateways.HTTP(e.client, "echo")
	names := make(map[string]bool)
	for _, headers := range [][]string{
		{},
		{"X-Request-Id: ", "Traceparent: "},
		{"X-Request-Id: a b", "Traceparent: 00-00000000000000000000000000000000-0123456789abcdef-00"},
		{"X-Request-Id: <script>", "Traceparent: 00-0123456789abcdef0123456789abcdef-0000000000000000-00"},
		{"X-Request-Id: " + strings.Repeat("x", 65), "Traceparent: 00-0123456789ABCDEF0123456789abcdef-0123456789abcdef-00"},
		{"X-Request-Id: one", "X-Request-Id: two", "Traceparent: ff-0123456789abcdef0123456789abcdef-0123456789abcdef-00"},
	} {
		got := ask(h, asked("GET", "/", "", headers...))
		id, trace := e.header("request-id"), e.header("traceparent")
		if !regexp.MustCompile(`^[A-Z2-7]{26}$`).MatchString(id) || got.header.Get("X-Request-Id") != id || names[id] {
			t.Errorf("%q: named %q, told %q", headers, id, got.header.Get("X-Request-Id"))
		}
		if !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(trace) || names[trace] {
			t.Errorf("%q: trace %q", headers, trace)
		}
		names[id], names[trace] = true, true
	}
}

func TestHTTPReply(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	var answer gateways.Response
	s.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc(
			"raw",
			func(context.Context, *gateways.Request) (gateways.Response, error) { return answer, nil },
		)
	})
	h := gateways.HTTP(s.client(t, gateways.ClientConfig{}), "raw", gateways.PassHeaders("Set-Cookie"))
	for name, c := range map[string]struct {
		answer gateways.Response
		status int
		media  string
		header map[string]string
	}{
		"nothing":    {gateways.Response{}, 204, "", nil},
		"bytes":      {gateways.Response{Body: []byte("x")}, 200, "application/octet-stream", nil},
		"text":       {gateways.Response{Body: []byte("x"), ContentType: "text/plain"}, 200, "text/plain; charset=utf-8", nil},
		"html":       {gateways.Response{Body: []byte("x"), ContentType: "text/html"}, 200, "text/html", nil},
		"created":    {gateways.Response{Body: []byte("x"), Status: 201, Headers: header("location", "/x")}, 201, "application/octet-stream", map[string]string{"Location": "/x"}},
		"redirected": {gateways.Response{Status: 303, Headers: header("Location", "/x")}, 303, "", map[string]string{"Location": "/x"}},
		"unchanged":  {gateways.Response{Body: []byte("dropped"), Status: 304, Headers: header("ETag", `"1"`)}, 304, "", map[string]string{"Etag": `"1"`}},
		"a cookie":   {gateways.Response{Body: []byte("x"), Headers: header("Set-Cookie", "a=b")}, 200, "application/octet-stream", map[string]string{"Set-Cookie": "a=b"}},
		"no good":    {gateways.Response{Status: 404, Body: []byte("x"), ContentType: "text/plain"}, 404, "text/plain; charset=utf-8", nil},
	} {
		t.Run(name, func(t *testing.T) {
			answer = c.answer
			got := ask(h, asked("GET", "/", ""))
			if got.status != c.status || got.header.Get("Content-Type") != c.media ||
				got.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%+v", got)
			}
			for name, want := range c.header {
				if got.header.Get(name) != want {
					t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
				}
			}
		})
	}
}

func TestHTTPAnswer(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	type book struct {
		ID string `json:"id"`
	}
	s.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "add", func(_ context.Context, b book) (gateways.Answer[book], error) {
			return gateways.Answer[book]{
				Status:  http.StatusCreated,
				Headers: header("Location", "/books/"+b.ID),
				Value:   b,
			}, nil
		})
		gateways.Handle(svc, "drop", func(context.Context, book) (gateways.Answer[book], error) {
			return gateways.Answer[book]{Status: http.StatusNoContent}, nil
		})
		gateways.HandleVoid(svc, "touch", func(context.Context, book) error { return nil })
	})
	c := s.client(t, gateways.ClientConfig{})
	got := ask(gateways.HTTP(c, "add"), asked("POST", "/books", `{"id":"7"}`))
	if got.status != http.StatusCreated || got.header.Get("Location") != "/books/7" || got.body != `{"id":"7"}` {
		t.Errorf("%+v", got)
	}
	for _, typ := range []string{"drop", "touch"} {
		if got := ask(gateways.HTTP(c, typ), asked("DELETE", "/books/7", "")); got.status != http.StatusNoContent ||
			got.body != "" {
			t.Errorf("%s: %+v", typ, got)
		}
	}
	b, err := gateways.Call[book, book](c, "add")(t.Context(), book{"8"}) // what others get is the value
	if err != nil || b.ID != "8" {
		t.Error(b, err)
	}
}

func TestHTTPErrors(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	var fails error
	svc := s.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc(
			"fail",
			func(context.Context, *gateways.Request) (gateways.Response, error) { return gateways.Response{}, fails },
		)
	})
	c := s.client(t, gateways.ClientConfig{})
	h := gateways.HTTP(c, "fail")
	for name, c := range map[string]struct {
		err    error
		status int
		code   gateways.Code
	}{
		"invalid":           {gateways.Errorf(gateways.CodeInvalid, "no"), 400, gateways.CodeInvalid},
		"unauthorized":      {gateways.Errorf(gateways.CodeUnauthorized, "no"), 401, gateways.CodeUnauthorized},
		"forbidden":         {gateways.Errorf(gateways.CodeForbidden, "no"), 403, gateways.CodeForbidden},
		"not found":         {gateways.Errorf(gateways.CodeNotFound, "no"), 404, gateways.CodeNotFound},
		"conflict":          {gateways.Errorf(gateways.CodeConflict, "no"), 409, gateways.CodeConflict},
		"unsupported":       {gateways.Errorf(gateways.CodeUnsupported, "no"), 415, gateways.CodeUnsupported},
		"of its own":        {gateways.Errorf("sold_out", "no"), 422, "sold_out"},
		"with a status":     {&gateways.RemoteError{Code: "gone", Message: "no", Status: 410}, 410, "gone"},
		"a panic of Go's":   {errors.New("secret"), 500, gateways.CodeInternal},
		"overloaded":        {gateways.Errorf(gateways.CodeOverloaded, "no"), 503, gateways.CodeOverloaded},
		"too slow":          {context.DeadlineExceeded, 504, gateways.CodeTimeout},
		"a status of 200":   {&gateways.RemoteError{Code: "odd", Status: 200}, 502, gateways.CodeBadReply},
		"a status of 99999": {&gateways.RemoteError{Code: "odd", Status: 99999}, 502, gateways.CodeBadReply},
	} {
		t.Run(name, func(t *testing.T) {
			fails = c.err
			got := ask(h, asked("GET", "/", ""))
			if f := got.failure(t); got.status != c.status || f.Code != c.code {
				t.Errorf("%d %+v", got.status, f)
			}
			if strings.Contains(got.body, "secret") {
				t.Errorf("it tells %s", got.body)
			}
			if retry := got.header.Get("Retry-After"); (retry != "") != (got.status == 503) {
				t.Errorf("Retry-After: %q", retry)
			}
		})
	}
	if got := ask(gateways.HTTP(c, "unknown"), asked("GET", "/", "")); got.status != 501 ||
		got.failure(t).Code != gateways.CodeNoHandler {
		t.Errorf("no handler: %+v", got)
	}
	if stats := svc.Stats(); stats.Answered != 0 {
		t.Errorf("%+v", stats)
	}
	if got, want := h.Stats(), (gateways.EndpointStats{Refused: 8, Overloaded: 1, Failed: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Nobody answers: 504, after the route's own time. In streamerson it is 500, after a time that routes can't set.
func TestHTTPTimeoutIsNo500(t *testing.T) {
	s := newStand(t)
	h := gateways.HTTP(
		s.client(t, gateways.ClientConfig{Timeout: time.Hour}),
		"nobody",
		gateways.Timeout(20*time.Millisecond),
	)
	if got := ask(h, asked("GET", "/", "")); got.status != http.StatusGatewayTimeout ||
		got.failure(t).Code != gateways.CodeTimeout {
		t.Errorf("%+v", got)
	}
}

// A client with all its calls in flight refuses more at once.
func TestHTTPOverloaded(t *testing.T) {
	s := newStand(t)
	h := gateways.HTTP(s.client(t, gateways.ClientConfig{MaxInFlight: 1}), "nobody")
	first := asked("GET", "/", "")
	ctx, cancel := context.WithCancel(first.Context())
	done := make(chan reply, 1)
	w := httptest.NewRecorder()
	defer cancel()
	inFlight(t, s, func() {
		h.ServeHTTP(w, first.WithContext(ctx))
		done <- reply{status: w.Code}
	})
	got := ask(h, asked("GET", "/", ""))
	if got.status != http.StatusServiceUnavailable || got.failure(t).Code != gateways.CodeOverloaded ||
		got.header.Get("Retry-After") != "1" {
		t.Errorf("%+v", got)
	}
	cancel()
	if r := <-done; r.status != 499 {
		t.Errorf("the one that went away: %d", r.status)
	}
	if got, want := h.Stats(), (gateways.EndpointStats{Overloaded: 1, Gone: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// inFlight has something asked beside the test, and waits until it is in the stream of requests.
func inFlight(t *testing.T, s *stand, ask func()) {
	t.Helper()
	go ask() // whose end the test waits for
	redistest.Soon(t, "the request is in the stream", func() bool { return s.rdb.XLen(t.Context(), s.topic).Val() > 0 })
}

func TestHTTPFireAndForget(t *testing.T) {
	s := newStand(t)
	h := gateways.HTTP(s.client(t, gateways.ClientConfig{}), "note", gateways.FireAndForget())
	got := ask(h, asked("POST", "/", `{"a":1}`))
	id := regexp.MustCompile(`^\{"id":"([A-Z2-7]{26})"\}$`).FindStringSubmatch(got.body)
	if got.status != http.StatusAccepted || id == nil {
		t.Fatalf("%+v", got)
	}
	entries := s.rdb.XRange(t.Context(), s.topic, "-", "+").Val()
	if len(entries) != 1 || entries[0].Values["id"] != id[1] || entries[0].Values["data"] != `{"a":1}` ||
		entries[0].Values["reply"] != nil {
		t.Errorf("%v", entries)
	}
}

func TestHTTPAccept(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	json, raw := gateways.HTTP(
		e.client,
		"echo",
	), gateways.HTTP(
		e.client,
		"echo",
		gateways.Accept("application/octet-stream", "text/csv"),
	)
	for _, c := range []struct {
		h      http.Handler
		media  string
		body   string
		status int
		got    string
	}{
		{json, "application/json", "1", 200, "application/json"},
		{json, "application/json; charset=utf-8", "1", 200, "application/json"},
		{json, "Application/JSON", "1", 200, "application/json"},
		{json, "application/merge-patch+json", "{}", 200, "application/json"},
		{json, "application/json; charset=latin1", "1", 415, ""},
		{json, "text/plain", "1", 415, ""},
		{json, "application/x-www-form-urlencoded", "a=1", 415, ""},
		{json, "", "1", 415, ""},
		{json, "nonsense/", "1", 415, ""},
		{raw, "text/csv; header=present", "a,\x00\xff", 200, "text/csv; header=present"},
		{raw, "application/json", "1", 415, ""},
	} {
		got := ask(c.h, asked("POST", "/", c.body, "Content-Type: "+c.media))
		if got.status != c.status {
			t.Errorf("%s: %+v", c.media, got)
		}
		if r, _ := e.request(); c.status == 200 && (r.ContentType != c.got || string(r.Body) != c.body) {
			t.Errorf("%s: the service got %q as %s", c.media, r.Body, r.ContentType)
		}
	}
	if got := ask(json, asked("POST", "/", "1", "Content-Encoding: gzip")); got.status != 415 {
		t.Errorf("gzip: %+v", got)
	}
}

func TestHTTPAuthenticate(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	h := gateways.HTTP(e.client, "echo", gateways.Authenticate(func(r *http.Request) (string, error) {
		switch token := r.Header.Get("Authorization"); token {
		case "Bearer ada":
			return "ada", nil
		case "Bearer banned":
			return "", gateways.Errorf(gateways.CodeForbidden, "you are banned")
		case "Bearer odd":
			return "a\nb", nil
		case "":
			return "", nil
		}
		return "", errors.New("secret")
	}))
	for token, want := range map[string]int{"Bearer ada": 200, "Bearer eve": 401, "Bearer banned": 403,
		"Bearer odd": 401} {
		got := ask(h, asked("GET", "/", "", "Authorization: "+token))
		if got.status != want || strings.Contains(got.body, "secret") {
			t.Errorf("%s: %+v", token, got)
		}
	}
	if _, n := e.request(); e.header("identity") != "ada" || n != 1 {
		t.Errorf("identity %q after %d requests", e.header("identity"), n)
	}
	if got := ask(h, asked("GET", "/", "")); got.status != 200 || e.header("identity") != "" {
		t.Errorf("nobody in particular: %+v, %q", got, e.header("identity"))
	}
}

func TestHTTPMistakes(t *testing.T) {
	s := newStand(t)
	c := s.client(t, gateways.ClientConfig{})
	for name, e := range map[string]*gateways.Endpoint{
		"client is nil":               gateways.HTTP(nil, "a"),
		"typ is empty":                gateways.HTTP(c, ""),
		"MaxBody is less":             gateways.HTTP(c, "a", gateways.MaxBody(0)),
		"Timeout is negative":         gateways.HTTP(c, "a", gateways.Timeout(-1)),
		"Accept is empty":             gateways.HTTP(c, "a", gateways.Accept()),
		"text/*":                      gateways.HTTP(c, "a", gateways.Accept("text/*")),
		"an invalid header name":      gateways.HTTP(c, "a", gateways.ForwardHeaders("a b")),
		"Connection, a hop-by-hop":    gateways.HTTP(c, "a", gateways.ForwardHeaders("connection")),
		"Identity, which the gateway": gateways.HTTP(c, "a", gateways.ForwardHeaders("Identity")),
		"Content-Length, which":       gateways.HTTP(c, "a", gateways.PassHeaders("content-length")),
		"int, no struct":              gateways.Route[int](c, "a"),
		"has the tags path and query": gateways.Route[struct {
			A string `path:"a" query:"b"`
		}](c, "a"),
		"has an empty tag query": gateways.Route[struct {
			A string `query:""`
		}](c, "a"),
		"unknown option": gateways.Route[struct {
			A string `query:"a,needed"`
		}](c, "a"),
		"is map[string]string": gateways.Route[struct {
			A map[string]string `query:"a"`
		}](c, "a"),
		"is not exported": gateways.Route[struct {
			a string `query:"a"`
		}](c, "a"),
		`has the tag json:`: gateways.Route[struct {
			A string `query:"a" json:"-"`
		}](c, "a"),
		`which is invalid`: gateways.Route[struct {
			A int `query:"a" default:"many"`
		}](c, "a"),
	} {
		text := strings.ReplaceAll(errText(e.Validate()), ": ", " ")
		if !strings.Contains(text, name) {
			t.Errorf("no %q in %q", name, text)
		}
		if got := ask(e, asked("GET", "/", "")); got.status != 500 || strings.Contains(got.body, name) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
