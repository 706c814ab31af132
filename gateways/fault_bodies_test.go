package gateways_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Half-sent bodies took what memory there was: 600 of them 693 MB. Now they share a budget, of
// which small requests have the rest.
func TestFault_S5_BodiesHaveABudget(t *testing.T) {
	t.Parallel()
	const megabyte, budget = 1 << 20, 4 << 20
	e := newEdge(t)
	addr, _ := up(t, gateways.HTTP(e.client, "echo"), gateways.ServerConfig{BodyMemory: budget})
	half := strings.Repeat(" ", megabyte/2+1)
	answers := make(chan int, 20)
	var sending sync.WaitGroup
	for range cap(answers) {
		c := dial(t, addr)
		sending.Go(func() {
			fmt.Fprintf(c,
				"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", megabyte)
			_, _ = io.WriteString(c, half) // it fails when the server has refused it
			if got, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				got.Body.Close()
				answers <- got.StatusCode
			}
		})
	}
	for range cap(answers) - 3 { // of 4 MiB three quarters are for large bodies
		if status := <-answers; status != http.StatusServiceUnavailable {
			t.Errorf("a body beyond the budget is answered with %d", status)
		}
	}
	if got := fetch(t, asked("POST", "http://"+addr+"/", `{"a":1}`)); got.status != http.StatusOK {
		t.Errorf("a small body: %+v", got)
	}
	redistest.Soon(t, "a large body is refused, and its sender reads that", func() bool {
		r := asked("POST", "http://"+addr+"/", strings.Repeat(" ", megabyte-2)+"{}")
		r.RequestURI = "" // a client sets it
		got, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil { // the server closed the connection while the body was sent
			return false
		}
		defer got.Body.Close()
		answer, _ := io.ReadAll(got.Body)
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" ||
			!strings.Contains(string(answer), string(gateways.CodeOverloaded)) {
			t.Errorf("a large body: %d %v %s", got.StatusCode, got.Header, answer)
		}
		return true
	})
}

// A body returns its share of the budget when it is answered or refused, and when its caller leaves.
func TestFault_S5_BodiesReturnTheirBudget(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	h := gateways.HTTP(e.client, "echo")
	addr, _ := up(t, h, gateways.ServerConfig{BodyMemory: 64 << 10})
	large := `{"a":"` + strings.Repeat("x", 30<<10) + `"}`
	for range 20 {
		c := dial(t, addr)
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			len(large), large[:20<<10])
		c.Close()
	}
	redistest.Soon(t, "all is given back", func() bool {
		return fetch(t, asked("POST", "http://"+addr+"/", large)).status == http.StatusOK
	})
	for range 20 {
		for body, want := range map[string]int{large: 200, large[1:]: 400} {
			if got := fetch(t, asked("POST", "http://"+addr+"/", body)); got.status != want {
				t.Fatalf("%d %.80s, want %d", got.status, got.body, want)
			}
		}
	}
	if got := fetch(t, asked("POST", "http://"+addr+"/", strings.Repeat(" ",
		60<<10)+"{}")); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("what never fits: %d %s", got.status, got.body)
	}
}

// Methods, paths, headers and content types of strangers have limits too.
func TestFault_S5_LengthsOfStrangers(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	h := gateways.HTTP(e.client, "echo", gateways.ForwardHeaders("X-Tenant"), gateways.RawBody())
	long := strings.Repeat("x", 64<<10)
	for name, c := range map[string]struct {
		r    *http.Request
		want int
	}{
		"query":           {asked("GET", "/?a="+long, ""), 414},
		"path":            {asked("GET", "/"+long, ""), 414},
		"method":          {asked(long, "/", ""), 501},
		"header":          {asked("GET", "/", "", "X-Tenant: "+long), 431},
		"many headers":    {asked("GET", "/", "", slicesOf("X-Tenant: "+long[:1000], 10)...), 431},
		"content type":    {asked("POST", "/", "1", "Content-Type: application/"+long+"+json"), 415},
		"parameters":      {asked("POST", "/", "1", "Content-Type: text/plain; a="+long), 415},
		"another header":  {asked("GET", "/", "", "X-Other: "+long), 200},
		"request id":      {asked("GET", "/", "", "X-Request-Id: "+long), 200},
		"forwarded, fine": {asked("GET", "/", "", "X-Tenant: "+long[:4000]), 200},
	} {
		if got := ask(h, c.r); got.status != c.want && !(c.want == 200 && got.status == 204) {
			t.Errorf("%s: %d %.100s, want %d", name, got.status, got.body, c.want)
		}
		if r, _ := e.request(); len(r.ID) > 100 || len(e.header("request-id")) > 64 {
			t.Errorf("%s: the ids have %d and %d bytes", name, len(r.ID), len(e.header("request-id")))
		}
	}
}

func slicesOf(s string, n int) (all []string) {
	for range n {
		all = append(all, s)
	}
	return all
}

// A GET with a body means one thing to a cache and another to the service.
func TestFault_S7_GETWithABody(t *testing.T) {
	b := newBoard(t, gateways.SSEConfig{})
	e := &edge{stand: b.stand, seen: &seen{}, client: b.client(t, gateways.ClientConfig{})}
	for name, h := range map[string]http.Handler{"HTTP": gateways.HTTP(e.client, "echo"),
		"Route": gateways.Route[struct{}](e.client, "echo"),
		"SSE":   b.EventStream} {
		addr, _ := up(t, h, gateways.ServerConfig{})
		for _, framing := range []string{"Content-Length: 2\r\n\r\n{}",
			"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"} {
			c := dial(t, addr)
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+framing)
			if got := closed(t, c); !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.1") != 1 {
				t.Errorf("%s, %q: %.200q", name, framing, got)
			}
		}
	}
}

// Replies to known callers stay out of shared caches, unless the service says otherwise.
func TestFault_S7_AuthenticatedRepliesArePrivate(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc("plain", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Body: []byte("{}"), ContentType: "application/json"}, nil
		})
		svc.HandleFunc("public", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Status: 204, Headers: header("cache-control", "public, max-age=60")}, nil
		})
	})
	c := s.client(t, gateways.ClientConfig{})
	known := gateways.Authenticate(func(*http.Request) (string, error) { return "ann", nil })
	for name, q := range map[string]struct {
		h      http.Handler
		header string
		want   string
	}{
		"known":              {gateways.HTTP(c, "plain", known), "A: b", "private"},
		"known, forgotten":   {gateways.HTTP(c, "plain", known, gateways.FireAndForget()), "A: b", "private"},
		"the service says":   {gateways.HTTP(c, "public", known), "A: b", "public, max-age=60"},
		"unknown":            {gateways.HTTP(c, "plain"), "A: b", ""},
		"with a cookie":      {gateways.HTTP(c, "plain"), "Cookie: session=1", "private"},
		"with authorization": {gateways.HTTP(c, "plain"), "Authorization: Bearer 1", "private"},
	} {
		if got := ask(q.h, asked("GET", "/", "", q.header)); got.status >= 300 ||
			strings.Join(got.header["Cache-Control"], "|") != q.want {
			t.Errorf("%s: %d, Cache-Control %q", name, got.status, got.header["Cache-Control"])
		}
	}
}

// An identity is text: entries, logs and JSON have it.
func TestFault_S7_IdentitiesAreUTF8(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	h := gateways.HTTP(e.client, "echo", gateways.Authenticate(func(r *http.Request) (string,
		error) {
		return r.Header.Get("X-Who"), nil
	}))
	for who, want := range map[string]int{"zoë": 200, "zo\xeb": 401, "a\x00b": 401} {
		if got := ask(h, asked("GET", "/", "", "X-Who: "+who)); got.status != want {
			t.Errorf("%q: %+v", who, got)
		}
	}
}

// Types that have parameters reach the handler with them.
func TestFault_G10_BoundaryOfMultipart(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	h := gateways.HTTP(e.client, "echo", gateways.Accept("multipart/form-data", "text/plain", "application/json"))
	for sent, want := range map[string]string{
		`multipart/form-data; boundary="a b:c"`:    `multipart/form-data; boundary="a b:c"`,
		"Multipart/Form-Data;boundary=xYz":         "multipart/form-data; boundary=xYz",
		"text/plain; charset=ISO-8859-1":           "text/plain; charset=ISO-8859-1",
		"text/plain; ; charset=utf-8;":             "text/plain; charset=utf-8",
		"application/json; charset=utf8":           "application/json",
		"application/json;;charset=\"UTF-8\"; ":    "application/json",
		"APPLICATION/JSON ; Charset=Utf-8":         "application/json",
		"application/merge-patch+json; charset=x1": "",
		"application/json; charset=iso-8859-1":     "",
		"text/plain; charset":                      "",
	} {
		got := ask(h, asked("POST", "/", "{}", "Content-Type: "+sent))
		if r, _ := e.request(); want == "" && got.status != 415 || want != "" &&
			(got.status != 200 || r.ContentType != want) {
			t.Errorf("%q: %d, the handler got %q", sent, got.status, r.ContentType)
		}
	}
}

// JSON may begin with a byte order mark. The handler does not get it.
func TestFault_G10_ByteOrderMark(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	if got := ask(gateways.HTTP(e.client, "echo"), asked("POST", "/", "\ufeff{\"a\":1}")); got.status != 200 ||
		got.body != `{"a":1}` {
		t.Errorf("%+v", got)
	}
}

// HTML forms send the fields that were left empty.
func TestFault_G10_EmptyParameters(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	h := gateways.Route[struct {
		Limit int     `json:"limit" query:"limit" default:"20"`
		Price *int    `json:"price" query:"price"`
		IDs   []int   `json:"ids" query:"id"`
		Name  *string `json:"name" query:"name"`
	}](e.client, "echo")
	if got := ask(h, asked("GET", "/?limit=&price=&id=&id=7&name=",
		"")); got.body != `{"limit":20,"price":null,"ids":[7],"name":""}` {
		t.Errorf("%+v", got)
	}
	required := gateways.Route[struct {
		Limit int `json:"limit" query:"limit,required"`
	}](e.client, "echo")
	if got := ask(required, asked("GET", "/?limit=", "")); got.status != 400 ||
		!strings.Contains(got.failure(t).Message, "missing") {
		t.Errorf("%+v", got)
	}
}

// The body of a webhook reaches its handler byte for byte: its signature covers the bytes.
func TestFault_G10_RawBody(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.mux.Handle("/hooks/{id}", gateways.HTTP(e.client, "echo", gateways.RawBody(),
		gateways.ForwardHeaders("X-Signature")))
	for sent, typ := range map[string]string{
		"\ufeff {\"id\":\"1\",  \"id\":2}\r\n\n": "application/json; charset=utf-8",
		"a=1&b=%20&=":                            "application/x-www-form-urlencoded",
		"\x00\xff{":                              "application/octet-stream",
		"<a/>":                                   "",
	} {
		got := ask(e.mux, asked("POST", "/hooks/42?id=7", sent, "Content-Type: "+typ, "X-Signature: s1"))
		if typ == "" {
			r := asked("POST", "/hooks/42?id=7", sent, "X-Signature: s1")
			r.Header.Del("Content-Type")
			got, typ = ask(e.mux, r), "application/octet-stream"
		}
		r, _ := e.request()
		if got.status != 200 || got.body != sent || r.ContentType != typ || e.header("x-signature") != "s1" ||
			e.header("http-path-id") != "42" ||
			e.header("http-query") != "id=7" {
			t.Errorf("%q of type %q: %+v, %q, %+v", sent, typ, got, r.ContentType, r.Headers)
		}
	}
	some := gateways.HTTP(e.client, "echo", gateways.RawBody(), gateways.Accept("text/csv"))
	if got := ask(some, asked("POST", "/", "{}")); got.status != 415 {
		t.Errorf("a type that Accept does not name: %+v", got)
	}
	if err := gateways.Route[struct{}](e.client, "echo", gateways.RawBody()).Validate(); err == nil {
		t.Error("Route takes RawBody")
	}
}

// Pages of other origins may use routes, and their browsers ask before.
func TestFault_G10_CORS(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.mux.Handle("PUT /books/{id}", gateways.HTTP(e.client, "echo"))
	const app = "https://app.example.com"
	h := gateways.CORS(e.mux, gateways.CORSConfig{Origins: []string{app}, Credentials: true})
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	addr, _ := up(t, h, gateways.ServerConfig{TrustedOrigins: []string{app}})
	url := "http://" + addr + "/books/7"
	pre := fetch(t, asked("OPTIONS", url, "", "Origin: "+app, "Access-Control-Request-Method: PUT"))
	if pre.status != 204 || pre.header.Get("Access-Control-Allow-Origin") != app ||
		!strings.Contains(pre.header.Get("Access-Control-Allow-Methods"), "PUT") ||
		!strings.Contains(pre.header.Get("Access-Control-Allow-Headers"), "Content-Type") ||
		pre.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("preflight: %+v", pre)
	}
	got := fetch(t, asked("PUT", url, "{}", "Origin: "+app, "Sec-Fetch-Site: cross-site"))
	if got.status != 200 || got.header.Get("Access-Control-Allow-Origin") != app ||
		got.header.Get("Vary") != "Origin" ||
		!strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "X-Request-Id") {
		t.Errorf("%+v", got)
	}
	if got := fetch(t, asked("PUT", url, "{", "Origin: "+app)); got.status != 400 ||
		got.header.Get("Access-Control-Allow-Origin") != app {
		t.Errorf("a page can't read its error: %+v", got)
	}
	for _, r := range []*http.Request{asked("OPTIONS", url, "", "Origin: https://other.example.com",
		"Access-Control-Request-Method: PUT"),
		asked("GET", url, "", "Origin: https://other.example.com"), asked("GET", url, "")} {
		if got := fetch(t, r); got.header.Get("Access-Control-Allow-Origin") != "" ||
			got.header.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("%s %s: %+v", r.Method, r.Header, got)
		}
	}
	for _, bad := range []gateways.CORSConfig{{}, {Origins: []string{"*"}, Credentials: true},
		{Origins: []string{"example.com"}},
		{Origins: []string{"*"}, Methods: []string{"GET, PUT"}}, {Origins: []string{"*"}, MaxAge: -1}} {
		h := gateways.CORS(e.mux, bad)
		if h.Validate() == nil || ask(h, httptest.NewRequest("GET", "/", nil)).status != 500 {
			t.Errorf("%+v is fine", bad)
		}
	}
}

// Behind a proxy that rewrites Host a page's own requests look like another origin's. The answer
// and the log say what to do.
func TestFault_G10_RewrittenHost(t *testing.T) {
	lines := &logLines{}
	addr, _ := up(t, gateways.Healthy(), gateways.ServerConfig{Log: lines.log()})
	for range 5 {
		got := fetch(t, asked("POST", "http://"+addr+"/", "{}", "Origin: https://app.example.com"))
		if got.status != 403 || !strings.Contains(got.failure(t).Message, "TrustedOrigins") {
			t.Errorf("%+v", got)
		}
	}
	text := lines.text()
	if n := strings.Count(text, "rewrites Host"); n != 3 || !strings.Contains(text, "https://app.example.com") ||
		!strings.Contains(text, addr) {
		t.Errorf("%d warnings for 5 requests:\n%s", n, text)
	}
}

// Services and clients take content types as media types, whatever their spelling.
func TestFault_D18_TextAsJSON(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "shout", func(_ context.Context, q string) (string, error) {
			return strings.ToUpper(q),
				nil
		})
		svc.HandleFunc("text", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Body: []byte("x"), ContentType: "Text/Plain"}, nil
		})
	})
	c := s.client(t, gateways.ClientConfig{})
	for _, typ := range []string{"application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json",
		"text/json"} {
		got, err := c.Do(t.Context(), gateways.Request{Type: "shout", Body: []byte(`"hi"`), ContentType: typ})
		if err != nil || string(got.Body) != "HI" {
			t.Errorf("%s: %q, %v", typ, got.Body, err)
		}
	}
	if got := ask(gateways.HTTP(c, "text"), asked("GET", "/",
		"")); got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%+v", got)
	}
}
