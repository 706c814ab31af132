package web_test

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
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Path, query and body become the body of the request.
func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	e.Mux.Handle("/plain", web.HTTP(e.Client, "echo"))
	e.Mux.Handle("/books/{id}", web.HTTP(e.Client, "echo"))
	e.Mux.Handle("/shelves/{shelf}/books/{rest...}", web.HTTP(e.Client, "echo"))
	for name, c := range map[string]struct {
		r    *http.Request
		want string
	}{
		"nothing":                {rig.Asked("GET", "/plain", ""), `{}`},
		"query":                  {rig.Asked("GET", "/plain?q=a+b&limit=3", ""), `{"limit":"3","q":"a b"}`},
		"query, more than once":  {rig.Asked("GET", "/plain?tag=a&tag=%22b%22", ""), `{"tag":["a","\"b\""]}`},
		"path":                   {rig.Asked("GET", "/books/42", ""), `{"id":"42"}`},
		"path with an escape":    {rig.Asked("GET", "/books/a%2Fb%20%C3%A9", ""), `{"id":"a/b é"}`},
		"path and query":         {rig.Asked("GET", "/books/42?full=true", ""), `{"id":"42","full":"true"}`},
		"two in the path":        {rig.Asked("GET", "/shelves/7/books/a/b", ""), `{"shelf":"7","rest":"a/b"}`},
		"body":                   {rig.Asked("POST", "/plain", ` {"a": [1, 2.50, null]} `), ` {"a": [1, 2.50, null]} `},
		"body that is no object": {rig.Asked("POST", "/plain", `[1]`), `[1]`},
		"path and body":          {rig.Asked("PUT", "/books/42", `{"title":"x","n":1e400}`), `{"id":"42","title":"x","n":1e400}`},
		"path and empty object":  {rig.Asked("PUT", "/books/42", " { } "), `{"id":"42"}`},
		"query beside a body":    {rig.Asked("PUT", "/books/42?title=y", `{"title":"x"}`), `{"id":"42","title":"x"}`},
		"DELETE":                 {rig.Asked("DELETE", "/books/42", ""), `{"id":"42"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := rig.Ask(e.Mux, c.r)
			if got.Status != http.StatusOK || got.Body != c.want ||
				got.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s (%s), want %s", got.Status, got.Body, got.Header.Get("Content-Type"), c.want)
			}
		})
	}
}

// With another router than the standard one, the program names the path values.
func TestHTTPPathValuesOfOtherRouters(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	r := rig.Asked("GET", "/anything", "")
	r.SetPathValue("id", "42")
	if got := rig.Ask(web.HTTP(e.Client, "echo", web.PathValues("id")), r); got.Body != `{"id":"42"}` {
		t.Error(got)
	}
}

func TestHTTPHeaders(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	e.Mux.Handle(
		"/books/{id}",
		web.HTTP(
			e.Client,
			"echo",
			web.ForwardHeaders("X-Tenant", "If-Match"),
			gateways.Header("from", "edge"),
		),
	)
	got := rig.Ask(
		e.Mux,
		rig.Asked(
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
	r, _ := e.Request()
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
	if got.Header.Get("X-Request-Id") != "r-1" {
		t.Errorf("the request's name came back as %q", got.Header.Get("X-Request-Id"))
	}
}

// A request without a valid ID or trace receives new ones.
func TestHTTPMakesIDs(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	h := web.HTTP(e.Client, "echo")
	names := make(map[string]bool)
	for _, headers := range [][]string{
		{},
		{"X-Request-Id: ", "Traceparent: "},
		{"X-Request-Id: a b", "Traceparent: 00-00000000000000000000000000000000-0123456789abcdef-00"},
		{"X-Request-Id: <script>", "Traceparent: 00-0123456789abcdef0123456789abcdef-0000000000000000-00"},
		{"X-Request-Id: " + strings.Repeat("x", 65), "Traceparent: 00-0123456789ABCDEF0123456789abcdef-0123456789abcdef-00"},
		{"X-Request-Id: one", "X-Request-Id: two", "Traceparent: ff-0123456789abcdef0123456789abcdef-0123456789abcdef-00"},
	} {
		got := rig.Ask(h, rig.Asked("GET", "/", "", headers...))
		id, trace := e.Header("request-id"), e.Header("traceparent")
		if !regexp.MustCompile(`^[A-Z2-7]{26}$`).MatchString(id) || got.Header.Get("X-Request-Id") != id || names[id] {
			t.Errorf("%q: named %q, told %q", headers, id, got.Header.Get("X-Request-Id"))
		}
		if !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(trace) || names[trace] {
			t.Errorf("%q: trace %q", headers, trace)
		}
		names[id], names[trace] = true, true
	}
}

func TestHTTPReply(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	var answer gateways.Response
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc(
			"raw",
			func(context.Context, *gateways.Request) (gateways.Response, error) { return answer, nil },
		)
	})
	h := web.HTTP(s.Client(t, gateways.ClientConfig{}), "raw", web.PassHeaders("Set-Cookie"))
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
		"created":    {gateways.Response{Body: []byte("x"), Status: 201, Headers: rig.Header("location", "/x")}, 201, "application/octet-stream", map[string]string{"Location": "/x"}},
		"redirected": {gateways.Response{Status: 303, Headers: rig.Header("Location", "/x")}, 303, "", map[string]string{"Location": "/x"}},
		"unchanged":  {gateways.Response{Body: []byte("dropped"), Status: 304, Headers: rig.Header("ETag", `"1"`)}, 304, "", map[string]string{"Etag": `"1"`}},
		"a cookie":   {gateways.Response{Body: []byte("x"), Headers: rig.Header("Set-Cookie", "a=b")}, 200, "application/octet-stream", map[string]string{"Set-Cookie": "a=b"}},
		"no good":    {gateways.Response{Status: 404, Body: []byte("x"), ContentType: "text/plain"}, 404, "text/plain; charset=utf-8", nil},
	} {
		t.Run(name, func(t *testing.T) {
			answer = c.answer
			got := rig.Ask(h, rig.Asked("GET", "/", ""))
			if got.Status != c.status || got.Header.Get("Content-Type") != c.media ||
				got.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%+v", got)
			}
			for name, want := range c.header {
				if got.Header.Get(name) != want {
					t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
				}
			}
		})
	}
}

func TestHTTPAnswer(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	type book struct {
		ID string `json:"id"`
	}
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "add", func(_ context.Context, b book) (gateways.Answer[book], error) {
			return gateways.Answer[book]{
				Status:  http.StatusCreated,
				Headers: rig.Header("Location", "/books/"+b.ID),
				Value:   b,
			}, nil
		})
		gateways.Handle(svc, "drop", func(context.Context, book) (gateways.Answer[book], error) {
			return gateways.Answer[book]{Status: http.StatusNoContent}, nil
		})
		gateways.HandleVoid(svc, "touch", func(context.Context, book) error { return nil })
	})
	c := s.Client(t, gateways.ClientConfig{})
	got := rig.Ask(web.HTTP(c, "add"), rig.Asked("POST", "/books", `{"id":"7"}`))
	if got.Status != http.StatusCreated || got.Header.Get("Location") != "/books/7" || got.Body != `{"id":"7"}` {
		t.Errorf("%+v", got)
	}
	for _, typ := range []string{"drop", "touch"} {
		if got := rig.Ask(web.HTTP(c, typ), rig.Asked("DELETE", "/books/7", "")); got.Status != http.StatusNoContent ||
			got.Body != "" {
			t.Errorf("%s: %+v", typ, got)
		}
	}
	b, err := gateways.Call[book, book](c, "add")(t.Context(), book{"8"}) // other callers receive only the value
	if err != nil || b.ID != "8" {
		t.Error(b, err)
	}
}

func TestHTTPErrors(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	var fails error
	svc := s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc(
			"fail",
			func(context.Context, *gateways.Request) (gateways.Response, error) { return gateways.Response{}, fails },
		)
	})
	c := s.Client(t, gateways.ClientConfig{})
	h := web.HTTP(c, "fail")
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
			got := rig.Ask(h, rig.Asked("GET", "/", ""))
			if f := got.Failure(t); got.Status != c.status || f.Code != c.code {
				t.Errorf("%d %+v", got.Status, f)
			}
			if strings.Contains(got.Body, "secret") {
				t.Errorf("it tells %s", got.Body)
			}
			if retry := got.Header.Get("Retry-After"); (retry != "") != (got.Status == 503) {
				t.Errorf("Retry-After: %q", retry)
			}
		})
	}
	if got := rig.Ask(web.HTTP(c, "unknown"), rig.Asked("GET", "/", "")); got.Status != 501 ||
		got.Failure(t).Code != gateways.CodeNoHandler {
		t.Errorf("no handler: %+v", got)
	}
	if stats := svc.Stats(); stats.Answered != 0 {
		t.Errorf("%+v", stats)
	}
	if got, want := h.Stats(), (web.EndpointStats{Refused: 8, Overloaded: 1, Failed: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Without an answer the route returns 504 after its own timeout. Streamerson for Node returns 500,
// after a timeout that routes can't set.
func TestHTTPTimeoutIsNo500(t *testing.T) {
	h := web.HTTP(
		rig.NewStand(t).Unsure(t).Client(t, gateways.ClientConfig{Timeout: time.Hour}),
		"nobody",
		gateways.Timeout(20*time.Millisecond),
	)
	redistest.Soon(t, "an answer of 504", func() bool { // 503 while the client connects
		got := rig.Ask(h, rig.Asked("GET", "/", ""))
		if got.Status != http.StatusGatewayTimeout && got.Status != http.StatusServiceUnavailable {
			t.Fatalf("%+v", got)
		}
		return got.Status == http.StatusGatewayTimeout && got.Failure(t).Code == gateways.CodeTimeout
	})
}

// A client at its limit of calls in flight refuses more at once.
func TestHTTPOverloaded(t *testing.T) {
	s := rig.NewStand(t)
	h := web.HTTP(s.Unsure(t).Client(t, gateways.ClientConfig{MaxInFlight: 1}), "nobody")
	first := rig.Asked("GET", "/", "")
	ctx, cancel := context.WithCancel(first.Context())
	done := make(chan rig.Reply, 1)
	w := httptest.NewRecorder()
	defer cancel()
	inFlight(t, s, func() {
		h.ServeHTTP(w, first.WithContext(ctx))
		done <- rig.Reply{Status: w.Code}
	})
	got := rig.Ask(h, rig.Asked("GET", "/", ""))
	if got.Status != http.StatusServiceUnavailable || got.Failure(t).Code != gateways.CodeOverloaded ||
		got.Header.Get("Retry-After") != "1" {
		t.Errorf("%+v", got)
	}
	cancel()
	if r := <-done; r.Status != 499 {
		t.Errorf("the one that went away: %d", r.Status)
	}
	if got, want := h.Stats(), (web.EndpointStats{Overloaded: 1, Gone: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// inFlight sends a request in another goroutine, and waits until it is in the stream of requests.
func inFlight(t *testing.T, s *rig.Stand, ask func()) {
	t.Helper()
	go ask() // the test waits for its end
	redistest.Soon(t, "the request is in the stream", func() bool { return s.RDB.XLen(t.Context(), s.Topic).Val() > 0 })
}

func TestHTTPFireAndForget(t *testing.T) {
	s := rig.NewStand(t)
	h := web.HTTP(s.Client(t, gateways.ClientConfig{}), "note", web.FireAndForget())
	got := rig.Ask(h, rig.Asked("POST", "/", `{"a":1}`))
	id := regexp.MustCompile(`^\{"id":"([A-Z2-7]{26})"\}$`).FindStringSubmatch(got.Body)
	if got.Status != http.StatusAccepted || id == nil {
		t.Fatalf("%+v", got)
	}
	entries := s.RDB.XRange(t.Context(), s.Topic, "-", "+").Val()
	if len(entries) != 1 || entries[0].Values["id"] != id[1] || entries[0].Values["data"] != `{"a":1}` ||
		entries[0].Values["reply"] != nil {
		t.Errorf("%v", entries)
	}
}

func TestHTTPAccept(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	json, raw := web.HTTP(
		e.Client,
		"echo",
	), web.HTTP(
		e.Client,
		"echo",
		web.Accept("application/octet-stream", "text/csv"),
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
		got := rig.Ask(c.h, rig.Asked("POST", "/", c.body, "Content-Type: "+c.media))
		if got.Status != c.status {
			t.Errorf("%s: %+v", c.media, got)
		}
		if r, _ := e.Request(); c.status == 200 && (r.ContentType != c.got || string(r.Body) != c.body) {
			t.Errorf("%s: the service got %q as %s", c.media, r.Body, r.ContentType)
		}
	}
	if got := rig.Ask(json, rig.Asked("POST", "/", "1", "Content-Encoding: gzip")); got.Status != 415 {
		t.Errorf("gzip: %+v", got)
	}
}

func TestHTTPAuthenticate(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	h := web.HTTP(e.Client, "echo", web.Authenticate(func(r *http.Request) (gateways.Identity, error) {
		switch token := r.Header.Get("Authorization"); token {
		case "Bearer ada":
			return gateways.Identity{User: "ada"}, nil
		case "Bearer banned":
			return gateways.Identity{}, gateways.Errorf(gateways.CodeForbidden, "you are banned")
		case "Bearer odd":
			return gateways.Identity{User: "a\nb"}, nil
		case "":
			return gateways.Identity{}, nil
		}
		return gateways.Identity{}, errors.New("secret")
	}))
	for token, want := range map[string]int{"Bearer ada": 200, "Bearer eve": 401, "Bearer banned": 403,
		"Bearer odd": 401} {
		got := rig.Ask(h, rig.Asked("GET", "/", "", "Authorization: "+token))
		if got.Status != want || strings.Contains(got.Body, "secret") {
			t.Errorf("%s: %+v", token, got)
		}
	}
	if _, n := e.Request(); e.Header("identity") != "ada" || n != 1 {
		t.Errorf("identity %q after %d requests", e.Header("identity"), n)
	}
	if got := rig.Ask(h, rig.Asked("GET", "/", "")); got.Status != 200 || e.Header("identity") != "" {
		t.Errorf("nobody in particular: %+v, %q", got, e.Header("identity"))
	}
}

func TestHTTPMistakes(t *testing.T) {
	s := rig.NewStand(t)
	c := s.Client(t, gateways.ClientConfig{})
	for name, e := range map[string]*web.Endpoint{
		"client is nil":               web.HTTP(nil, "a"),
		"typ is empty":                web.HTTP(c, ""),
		"MaxBody is less":             web.HTTP(c, "a", web.MaxBody(0)),
		"Timeout is negative":         web.HTTP(c, "a", gateways.Timeout(-1)),
		"Accept is empty":             web.HTTP(c, "a", web.Accept()),
		"text/*":                      web.HTTP(c, "a", web.Accept("text/*")),
		"an invalid header name":      web.HTTP(c, "a", web.ForwardHeaders("a b")),
		"Connection, a hop-by-hop":    web.HTTP(c, "a", web.ForwardHeaders("connection")),
		"Identity, which the gateway": web.HTTP(c, "a", web.ForwardHeaders("Identity")),
		"Content-Length, which":       web.HTTP(c, "a", web.PassHeaders("content-length")),
		"int, no struct":              web.Route[int](c, "a"),
		"has the tags path and query": web.Route[struct {
			A string `path:"a" query:"b"`
		}](c, "a"),
		"has an empty tag query": web.Route[struct {
			A string `query:""`
		}](c, "a"),
		"unknown option": web.Route[struct {
			A string `query:"a,needed"`
		}](c, "a"),
		"is map[string]string": web.Route[struct {
			A map[string]string `query:"a"`
		}](c, "a"),
		"is not exported": web.Route[struct {
			a string `query:"a"`
		}](c, "a"),
		`has the tag json:`: web.Route[struct {
			A string `query:"a" json:"-"`
		}](c, "a"),
		`which is invalid`: web.Route[struct {
			A int `query:"a" default:"many"`
		}](c, "a"),
	} {
		text := strings.ReplaceAll(errText(e.Validate()), ": ", " ")
		if !strings.Contains(text, name) {
			t.Errorf("no %q in %q", name, text)
		}
		if got := rig.Ask(e, rig.Asked("GET", "/", "")); got.Status != 500 || strings.Contains(got.Body, name) {
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
