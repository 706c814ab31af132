package web_test

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
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Half-sent bodies used to take unlimited memory: 600 of them took 693 MB. Now they share a budget,
// and a part of it is reserved for small requests.
func TestFault_S5_BodiesHaveABudget(t *testing.T) {
	t.Parallel()
	const megabyte, budget, clients = 1 << 20, 4 << 20, 20
	e := rig.NewEdge(t)
	cfg := web.ServerConfig{BodyMemory: budget, BodyTimeout: redistest.Patience} // half a body stays half
	addr, _ := rig.Up(t, web.HTTP(e.Client, "echo"), cfg)
	half := strings.Repeat(" ", megabyte/2+1)
	answers := make(chan int, 100*clients)
	var sending sync.WaitGroup
	send := func() {
		c := rig.Dial(t, addr)
		sending.Go(func() {
			fmt.Fprintf(c,
				"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", megabyte)
			_, _ = io.WriteString(c, half) // fails after the server has refused it
			if got, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				got.Body.Close()
				answers <- got.StatusCode
			}
		})
	}
	for range clients {
		send()
	}
	for range clients - 3 { // three quarters of 4 MiB are for large bodies
		if status := <-answers; status != http.StatusServiceUnavailable {
			t.Errorf("a body beyond the budget is answered with %d", status)
		}
	}
	if got := rig.Fetch(t, rig.Asked("POST", "http://"+addr+"/", `{"a":1}`)); got.Status != http.StatusOK {
		t.Errorf("a small body: %+v", got)
	}
	var got rig.Reply
	redistest.Soon(t, "a large body is refused", func() bool {
		got = refused(t, "http://"+addr+"/", strings.Repeat(" ", megabyte-2)+"{}")
		if got.Status == http.StatusOK { // bodies that arrive at once may all be refused, so there may be room
			send()
		}
		return got.Status != http.StatusOK
	})
	if got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" ||
		!strings.Contains(got.Body, string(gateways.CodeOverloaded)) {
		t.Errorf("a large body: %+v", got)
	}
}

// refused sends a body that the server may refuse before it is sent. It is sent again if the server
// closed the connection before the client could read the answer.
func refused(t *testing.T, url, body string) (got rig.Reply) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	redistest.Soon(t, "the answer to a large body is read", func() bool {
		r, err := c.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			return false
		}
		defer r.Body.Close()
		answer, err := io.ReadAll(r.Body)
		got = rig.Reply{Status: r.StatusCode, Header: r.Header, Body: string(answer)}
		return err == nil
	})
	return got
}

// A body returns its share of the budget when it is answered or refused, and when its caller leaves.
func TestFault_S5_BodiesReturnTheirBudget(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	h := web.HTTP(e.Client, "echo")
	addr, _ := rig.Up(t, h, web.ServerConfig{BodyMemory: 64 << 10})
	large := `{"a":"` + strings.Repeat("x", 30<<10) + `"}`
	for range 20 {
		c := rig.Dial(t, addr)
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			len(large), large[:20<<10])
		c.Close()
	}
	redistest.Soon(t, "all of them are refused, or have left", func() bool {
		n := h.Stats()
		return n.Refused+n.Overloaded+n.Gone == 20
	})
	for range 20 {
		for body, want := range map[string]int{large: 200, large[1:]: 400} {
			if got := rig.Fetch(t, rig.Asked("POST", "http://"+addr+"/", body)); got.Status != want {
				t.Fatalf("%d %.80s, want %d", got.Status, got.Body, want)
			}
		}
	}
	never := strings.Repeat(" ", 60<<10) + "{}"
	if got := refused(t, "http://"+addr+"/", never); got.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("what never fits: %d %s", got.Status, got.Body)
	}
}

// Methods, paths, headers and content types of requests have limits too.
func TestFault_S5_LengthsOfStrangers(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	h := web.HTTP(e.Client, "echo", web.ForwardHeaders("X-Tenant"), web.RawBody())
	long := strings.Repeat("x", 64<<10)
	for name, c := range map[string]struct {
		r    *http.Request
		want int
	}{
		"query":           {rig.Asked("GET", "/?a="+long, ""), 414},
		"path":            {rig.Asked("GET", "/"+long, ""), 414},
		"method":          {rig.Asked(long, "/", ""), 501},
		"header":          {rig.Asked("GET", "/", "", "X-Tenant: "+long), 431},
		"many headers":    {rig.Asked("GET", "/", "", slicesOf("X-Tenant: "+long[:1000], 10)...), 431},
		"content type":    {rig.Asked("POST", "/", "1", "Content-Type: application/"+long+"+json"), 415},
		"parameters":      {rig.Asked("POST", "/", "1", "Content-Type: text/plain; a="+long), 415},
		"another header":  {rig.Asked("GET", "/", "", "X-Other: "+long), 200},
		"request id":      {rig.Asked("GET", "/", "", "X-Request-Id: "+long), 200},
		"forwarded, fine": {rig.Asked("GET", "/", "", "X-Tenant: "+long[:4000]), 200},
	} {
		if got := rig.Ask(h, c.r); got.Status != c.want && !(c.want == 200 && got.Status == 204) {
			t.Errorf("%s: %d %.100s, want %d", name, got.Status, got.Body, c.want)
		}
		if r, _ := e.Request(); len(r.ID) > 100 || len(e.Header("request-id")) > 64 {
			t.Errorf("%s: the ids have %d and %d bytes", name, len(r.ID), len(e.Header("request-id")))
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
	b := rig.NewBoard(t, sse.Config{})
	e := &rig.Edge{Stand: b.Stand, Seen: &rig.Seen{}, Client: b.Client(t, gateways.ClientConfig{})}
	for name, h := range map[string]http.Handler{"HTTP": web.HTTP(e.Client, "echo"),
		"Route": web.Route[struct{}](e.Client, "echo"),
		"SSE":   b.Handler} {
		addr, _ := rig.Up(t, h, web.ServerConfig{})
		for _, framing := range []string{"Content-Length: 2\r\n\r\n{}",
			"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"} {
			c := rig.Dial(t, addr)
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
	s := rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc("plain", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Body: []byte("{}"), ContentType: "application/json"}, nil
		})
		svc.HandleFunc("public", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Status: 204, Headers: rig.Header("cache-control", "public, max-age=60")}, nil
		})
	})
	c := s.Client(t, gateways.ClientConfig{})
	known := web.Authenticate(
		func(*http.Request) (gateways.Identity, error) { return gateways.Identity{User: "ann"}, nil },
	)
	for name, q := range map[string]struct {
		h      http.Handler
		header string
		want   string
	}{
		"known":              {web.HTTP(c, "plain", known), "A: b", "private"},
		"known, forgotten":   {web.HTTP(c, "plain", known, web.FireAndForget()), "A: b", "private"},
		"the service says":   {web.HTTP(c, "public", known), "A: b", "public, max-age=60"},
		"unknown":            {web.HTTP(c, "plain"), "A: b", ""},
		"with a cookie":      {web.HTTP(c, "plain"), "Cookie: session=1", "private"},
		"with authorization": {web.HTTP(c, "plain"), "Authorization: Bearer 1", "private"},
	} {
		if got := rig.Ask(q.h, rig.Asked("GET", "/", "", q.header)); got.Status >= 300 ||
			strings.Join(got.Header["Cache-Control"], "|") != q.want {
			t.Errorf("%s: %d, Cache-Control %q", name, got.Status, got.Header["Cache-Control"])
		}
	}
}

// An identity is text, because entries, logs and JSON contain it.
func TestFault_S7_IdentitiesAreUTF8(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	h := web.HTTP(e.Client, "echo", web.Authenticate(func(r *http.Request) (gateways.Identity, error) {
		return gateways.Identity{User: r.Header.Get("X-Who")}, nil
	}))
	for who, want := range map[string]int{"zoë": 200, "zo\xeb": 401, "a\x00b": 401} {
		if got := rig.Ask(h, rig.Asked("GET", "/", "", "X-Who: "+who)); got.Status != want {
			t.Errorf("%q: %+v", who, got)
		}
	}
}

// Types that have parameters reach the handler with them.
func TestFault_G10_BoundaryOfMultipart(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	h := web.HTTP(e.Client, "echo", web.Accept("multipart/form-data", "text/plain", "application/json"))
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
		got := rig.Ask(h, rig.Asked("POST", "/", "{}", "Content-Type: "+sent))
		if r, _ := e.Request(); want == "" && got.Status != 415 || want != "" &&
			(got.Status != 200 || r.ContentType != want) {
			t.Errorf("%q: %d, the handler got %q", sent, got.Status, r.ContentType)
		}
	}
}

// JSON may begin with a byte order mark. It is not passed to the handler.
func TestFault_G10_ByteOrderMark(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	if got := rig.Ask(web.HTTP(e.Client, "echo"), rig.Asked("POST", "/", "\ufeff{\"a\":1}")); got.Status != 200 ||
		got.Body != `{"a":1}` {
		t.Errorf("%+v", got)
	}
}

// HTML forms also send empty fields.
func TestFault_G10_EmptyParameters(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	h := web.Route[struct {
		Limit int     `json:"limit" query:"limit" default:"20"`
		Price *int    `json:"price" query:"price"`
		IDs   []int   `json:"ids" query:"id"`
		Name  *string `json:"name" query:"name"`
	}](e.Client, "echo")
	if got := rig.Ask(h, rig.Asked("GET", "/?limit=&price=&id=&id=7&name=",
		"")); got.Body != `{"limit":20,"price":null,"ids":[7],"name":""}` {
		t.Errorf("%+v", got)
	}
	required := web.Route[struct {
		Limit int `json:"limit" query:"limit,required"`
	}](e.Client, "echo")
	if got := rig.Ask(required, rig.Asked("GET", "/?limit=", "")); got.Status != 400 ||
		!strings.Contains(got.Failure(t).Message, "missing") {
		t.Errorf("%+v", got)
	}
}

// The body of a webhook reaches its handler byte for byte, because its signature covers the bytes.
func TestFault_G10_RawBody(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	e.Mux.Handle("/hooks/{id}", web.HTTP(e.Client, "echo", web.RawBody(),
		web.ForwardHeaders("X-Signature")))
	for sent, typ := range map[string]string{
		"\ufeff {\"id\":\"1\",  \"id\":2}\r\n\n": "application/json; charset=utf-8",
		"a=1&b=%20&=":                            "application/x-www-form-urlencoded",
		"\x00\xff{":                              "application/octet-stream",
		"<a/>":                                   "",
	} {
		got := rig.Ask(e.Mux, rig.Asked("POST", "/hooks/42?id=7", sent, "Content-Type: "+typ, "X-Signature: s1"))
		if typ == "" {
			r := rig.Asked("POST", "/hooks/42?id=7", sent, "X-Signature: s1")
			r.Header.Del("Content-Type")
			got, typ = rig.Ask(e.Mux, r), "application/octet-stream"
		}
		r, _ := e.Request()
		if got.Status != 200 || got.Body != sent || r.ContentType != typ || e.Header("x-signature") != "s1" ||
			e.Header("http-path-id") != "42" ||
			e.Header("http-query") != "id=7" {
			t.Errorf("%q of type %q: %+v, %q, %+v", sent, typ, got, r.ContentType, r.Headers)
		}
	}
	some := web.HTTP(e.Client, "echo", web.RawBody(), web.Accept("text/csv"))
	if got := rig.Ask(some, rig.Asked("POST", "/", "{}")); got.Status != 415 {
		t.Errorf("a type that Accept does not name: %+v", got)
	}
	if err := web.Route[struct{}](e.Client, "echo", web.RawBody()).Validate(); err == nil {
		t.Error("Route takes RawBody")
	}
}

// Pages of other origins may use routes. Their browsers send a preflight request first.
func TestFault_G10_CORS(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	e.Mux.Handle("PUT /books/{id}", web.HTTP(e.Client, "echo"))
	const app = "https://app.example.com"
	h := web.CORS(e.Mux, web.CORSConfig{Origins: []string{app}, Credentials: true})
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	addr, _ := rig.Up(t, h, web.ServerConfig{TrustedOrigins: []string{app}})
	url := "http://" + addr + "/books/7"
	pre := rig.Fetch(t, rig.Asked("OPTIONS", url, "", "Origin: "+app, "Access-Control-Request-Method: PUT"))
	if pre.Status != 204 || pre.Header.Get("Access-Control-Allow-Origin") != app ||
		!strings.Contains(pre.Header.Get("Access-Control-Allow-Methods"), "PUT") ||
		!strings.Contains(pre.Header.Get("Access-Control-Allow-Headers"), "Content-Type") ||
		pre.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("preflight: %+v", pre)
	}
	got := rig.Fetch(t, rig.Asked("PUT", url, "{}", "Origin: "+app, "Sec-Fetch-Site: cross-site"))
	if got.Status != 200 || got.Header.Get("Access-Control-Allow-Origin") != app ||
		got.Header.Get("Vary") != "Origin" ||
		!strings.Contains(got.Header.Get("Access-Control-Expose-Headers"), "X-Request-Id") {
		t.Errorf("%+v", got)
	}
	if got := rig.Fetch(t, rig.Asked("PUT", url, "{", "Origin: "+app)); got.Status != 400 ||
		got.Header.Get("Access-Control-Allow-Origin") != app {
		t.Errorf("a page can't read its error: %+v", got)
	}
	for _, r := range []*http.Request{rig.Asked("OPTIONS", url, "", "Origin: https://other.example.com",
		"Access-Control-Request-Method: PUT"),
		rig.Asked("GET", url, "", "Origin: https://other.example.com"), rig.Asked("GET", url, "")} {
		if got := rig.Fetch(t, r); got.Header.Get("Access-Control-Allow-Origin") != "" ||
			got.Header.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("%s %s: %+v", r.Method, r.Header, got)
		}
	}
	for _, bad := range []web.CORSConfig{{}, {Origins: []string{"*"}, Credentials: true},
		{Origins: []string{"example.com"}},
		{Origins: []string{"*"}, Methods: []string{"GET, PUT"}}, {Origins: []string{"*"}, MaxAge: -1}} {
		h := web.CORS(e.Mux, bad)
		if h.Validate() == nil || rig.Ask(h, httptest.NewRequest("GET", "/", nil)).Status != 500 {
			t.Errorf("%+v is fine", bad)
		}
	}
}

// Behind a proxy that rewrites Host, requests of the own pages look cross-origin. The response and
// the log contain the remedy.
func TestFault_G10_RewrittenHost(t *testing.T) {
	lines := &logLines{}
	addr, _ := rig.Up(t, web.Healthy(), web.ServerConfig{Log: lines.log()})
	for range 5 {
		got := rig.Fetch(t, rig.Asked("POST", "http://"+addr+"/", "{}", "Origin: https://app.example.com"))
		if got.Status != 403 || !strings.Contains(got.Failure(t).Message, "TrustedOrigins") {
			t.Errorf("%+v", got)
		}
	}
	text := lines.text()
	if n := strings.Count(text, "rewrites Host"); n != 3 || !strings.Contains(text, "https://app.example.com") ||
		!strings.Contains(text, addr) {
		t.Errorf("%d warnings for 5 requests:\n%s", n, text)
	}
}

// Services and clients compare content types as media types, whatever their spelling.
func TestFault_D18_TextAsJSON(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "shout", func(_ context.Context, q string) (string, error) {
			return strings.ToUpper(q),
				nil
		})
		svc.HandleFunc("text", func(context.Context, *gateways.Request) (gateways.Response, error) {
			return gateways.Response{Body: []byte("x"), ContentType: "Text/Plain"}, nil
		})
	})
	c := s.Client(t, gateways.ClientConfig{})
	for _, typ := range []string{"application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json",
		"text/json"} {
		got, err := c.Do(t.Context(), gateways.Request{Type: "shout", Body: []byte(`"hi"`), ContentType: typ})
		if err != nil || string(got.Body) != "HI" {
			t.Errorf("%s: %q, %v", typ, got.Body, err)
		}
	}
	if got := rig.Ask(web.HTTP(c, "text"), rig.Asked("GET", "/",
		"")); got.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%+v", got)
	}
}
