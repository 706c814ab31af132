package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// JSON that parsers interpret differently, or fail on, is refused before anything is sent.
func TestHostileJSON(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	generic, typed := web.HTTP(e.Client, "echo"), web.Route[struct {
		A any `json:"a"`
	}](e.Client, "echo")
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, body := range map[string]string{
		"deep objects":          deep(65),
		"deep arrays":           `{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}",
		"deep, not closed":      strings.Repeat("[", 100_000),
		"a name twice":          `{"a":1,"a":2}`,
		"a name twice, escaped": `{"a":1,"\u0061":2}`,
		"a name twice, inside":  `{"a":{"b":[{"c":1,"c":2}]}}`,
		"broken UTF-8":          "{\"a\":\"\xff\"}",
		"half a surrogate":      `{"a":"\ud800"}`,
		"NUL":                   "{\"a\":\"\x00\"}",
		"NUL behind":            "{\"a\":1}\x00",
		"two values":            `{"a":1}{"a":2}`,
		"not closed":            `{"a":1`,
		"not JSON":              `{a:1}`,
		"a comment":             `{"a":1/**/}`,
		"NaN":                   `{"a":NaN}`,
		"white space":           "   ",
	} {
		for kind, h := range map[string]http.Handler{"HTTP": generic, "Route": typed} {
			if got := rig.Ask(h, rig.Asked("POST", "/", body)); got.Status != http.StatusBadRequest ||
				got.Failure(t).Code != gateways.CodeInvalid {
				t.Errorf("%s, %s: %d %.200s", kind, name, got.Status, got.Body)
			}
		}
	}
	if _, n := e.Request(); n != 0 || e.RDB.XLen(t.Context(), e.Topic).Val() != 0 {
		t.Errorf("%d of these were sent", n)
	}
	for _, body := range []string{deep(64), `{"a":"` + strings.Repeat(`{[\"`, 1000) + `"}`, `{"a":"\u0000","A":1}`} { // these are valid
		if got := rig.Ask(generic, rig.Asked("POST", "/", body)); got.Status != http.StatusOK || got.Body != body {
			t.Errorf("%.40s: %d %.200s", body, got.Status, got.Body)
		}
	}
}

// The body or the query cannot override a value of the path, in any letter case or escaping.
func TestPathValuesCannotBeForged(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	e.Mux.Handle("/books/{id}", web.HTTP(e.Client, "echo"))
	for _, r := range []*http.Request{
		rig.Asked("PUT", "/books/42", `{"id":"1"}`),
		rig.Asked("PUT", "/books/42", `{"a":{"id":"1"},"ID":"1"}`),
		rig.Asked("PUT", "/books/42", `{"\u0069d":"1"}`),
		rig.Asked("PUT", "/books/42", "{\"a\":1, \"\u0130d\":0, \"iD\": {}}"),
		rig.Asked("GET", "/books/42?id=1", ""),
		rig.Asked("GET", "/books/42?Id=1", ""),
		rig.Asked("PUT", "/books/42", `["id"]`),
		rig.Asked("GET", "/books/%00", ""),
		rig.Asked("GET", "/books/%ff", ""),
		rig.Asked("GET", "/books/42?q=%ff", ""),
		rig.Asked("GET", "/books/42?%ff=1", ""),
		rig.Asked("GET", "/books/42?q=%00", ""),
		rig.Asked("GET", "/books/42?a;b", ""),
	} {
		if got := rig.Ask(e.Mux, r); got.Status != http.StatusBadRequest {
			t.Errorf("%s: %+v", r.URL, got)
		}
	}
	if got := rig.Ask(e.Mux, rig.Asked("PUT", "/books/42", `{"a":{"id":"1"}}`)); got.Body != `{"id":"42","a":{"id":"1"}}` {
		t.Errorf("an id deeper inside: %+v", got)
	}
	typed := web.Route[struct {
		ID   string `json:"id" path:"id"`
		User string `json:"user" identity:"true"`
		Page int    `json:"page" query:"page"`
	}](e.Client, "echo")
	e.Mux.Handle("/typed/{id}", typed)
	for _, body := range []string{`{"id":"1","user":"root","page":7}`, `{"ID":"1","User":"root","PAGE":7}`} {
		if got := rig.Ask(e.Mux, rig.Asked("PUT", "/typed/42?user=root&id=1", body)); got.Body != `{"id":"42","user":"","page":0}` {
			t.Errorf("%s: %+v", body, got)
		}
	}
}

// Headers that only the gateway sets can't be set by callers.
func TestForgedIdentity(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	h := web.HTTP(e.Client, "echo", web.ForwardHeaders("X-Tenant"))
	rig.Ask(
		h,
		rig.Asked(
			"GET",
			"/",
			"",
			"identity: root",
			"Identity: root",
			"http-method: DELETE",
			"http-path-id: 1",
			"h:identity: root",
			":window: 1",
			"reply: x",
			"X-Tenant: blue",
		),
	)
	r, n := e.Request()
	for _, p := range r.Headers {
		if p.Value == "root" || p.Value == "DELETE" || p.Name == "http-path-id" || strings.HasPrefix(p.Name, ":") ||
			p.Name == "reply" {
			t.Errorf("%+v got through", p)
		}
	}
	if n != 1 || e.Header("identity") != "" || e.Header("http-method") != "GET" {
		t.Errorf("%+v", r)
	}
}

// A caller can't make a worker write to a key of its choice, because the reply address is the
// client's own.
func TestForgedReplyAddressByHTTP(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	e.RDB.XGroupCreate(t.Context(), e.Topic, "watch", "0") // for it requests stay
	victim := e.Topic + ":victim"
	h := web.HTTP(e.Client, "echo", web.ForwardHeaders("Reply", "Reply-To"))
	got := rig.Ask(
		h,
		rig.Asked(
			"POST",
			"/?reply="+victim,
			`{"reply":"`+victim+`","type":"other","deadline":"1"}`,
			"Reply: "+victim,
			"Reply-To: "+victim,
		),
	)
	if got.Status != http.StatusOK || e.RDB.Exists(t.Context(), victim).Val() != 0 {
		t.Errorf("%+v", got)
	}
	entry := e.RDB.XRange(t.Context(), e.Topic, "-", "+").Val()[0].Values
	if address, _ := entry["reply"].(string); !strings.HasPrefix(address, "{"+e.Topic+"}:reply:") ||
		entry["type"] != "echo" ||
		entry["h:reply"] != victim {
		t.Errorf("%v", entry)
	}
}

// A service's answer can't inject headers, nor set headers for the connection or the whole site.
func TestHeaderInjectionByReply(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	var answer gateways.Response
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc(
			"raw",
			func(context.Context, *gateways.Request) (gateways.Response, error) { return answer, nil },
		)
	})
	h := web.HTTP(s.Client(t, gateways.ClientConfig{}), "raw")
	for _, p := range []flow.Header{{Name: "Location", Value: "/\r\nSet-Cookie: a=b"}, {Name: "Location", Value: "a\nb"}, {Name: "X", Value: "a\x00b"},
		{Name: "X\r\nSet-Cookie: a", Value: "b"}, {Name: "X Y", Value: "1"}, {Name: "X:", Value: "1"}, {Name: "", Value: "1"}} {
		answer = gateways.Response{Body: []byte("x"), Headers: flow.Headers{{Name: "X-Good", Value: "1"}, p}}
		if got := rig.Ask(h, rig.Asked("GET", "/", "")); p.Name != "" &&
			(got.Status != http.StatusBadGateway || got.Header.Get("X-Good") != "" ||
				got.Failure(t).Code != gateways.CodeBadReply) {
			t.Errorf("%q: %+v", p, got)
		}
	}
	for _, odd := range []gateways.Response{{Body: []byte("x"), ContentType: "text/plain\r\nX: 1"}, {Status: 99}, {Status: 101}, {Status: 600}, {Status: -1}} {
		answer = odd
		if got := rig.Ask(h, rig.Asked("GET", "/", "")); got.Status != http.StatusBadGateway {
			t.Errorf("%+v: %+v", odd, got)
		}
	}
	answer = gateways.Response{
		Body: []byte("xyz"),
		Headers: flow.Headers{{Name: "connection", Value: "close"}, {Name: "Transfer-Encoding", Value: "chunked"},
			{
				Name:  "content-length",
				Value: "1",
			}, {Name: "Upgrade", Value: "h2c"}, {Name: "Set-Cookie", Value: "a=b"}, {Name: "Access-Control-Allow-Origin", Value: "*"},
			{
				Name:  "X-Accel-Redirect",
				Value: "/etc",
			}, {Name: "x-request-id", Value: "forged"}, {Name: "Content-Type", Value: "text/html"},
			{Name: "X-Content-Type-Options", Value: "sniff"}, {Name: "Cache-Control", Value: "max-age=1"}},
	}
	got := rig.Ask(h, rig.Asked("GET", "/", "", "X-Request-Id: r-1"))
	want := http.Header{
		"Cache-Control":          {"max-age=1"},
		"Content-Length":         {"3"},
		"Content-Type":           {"application/octet-stream"},
		"X-Content-Type-Options": {"nosniff"},
		"X-Request-Id":           {"r-1"},
	}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got.Header, want)
	}
}

// A caller's headers can't inject others either: the server refuses them.
func TestHeaderInjectionByRequest(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	addr, _ := rig.Up(t, web.HTTP(e.Client, "echo", web.ForwardHeaders("X-Tenant")), web.ServerConfig{})
	for _, head := range []string{"X-Tenant: a\x00b", "X-Tenant: a\rb", "X Tenant: 1", "X-Tenant : 1",
		"Content-Length: 1\r\nContent-Length: 2",
		"Transfer-Encoding: gzip"} {
		c := rig.Dial(t, addr)
		fmt.Fprintf(
			c,
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n%s\r\n\r\n{}",
			head,
		)
		line, _ := bufio.NewReader(c).ReadString('\n')
		if !strings.Contains(line, " 400 ") && !strings.Contains(line, " 501 ") {
			t.Errorf("%q: %q", head, line)
		}
	}
	if _, n := e.Request(); n != 0 {
		t.Errorf("%d got through", n)
	}
}

// closed waits until a server has closed a connection, and returns the bytes received before.
func closed(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Fatal("the connection is not closed")
	}
	return string(b)
}

// othersAreServed sends a request to a server with short timeouts. If the client or the server was too slow for them,
// it tries again.
func othersAreServed(t *testing.T, addr string) {
	t.Helper()
	redistest.Soon(t, "others are served", func() bool {
		got, err := rig.TryFetch(rig.Asked("GET", "http://"+addr+"/", ""))
		if err == nil && got.Status != http.StatusOK {
			t.Errorf("others get %+v", got)
		}
		return err == nil
	})
}

// Slowloris: clients that send headers very slowly are disconnected. Others are served meanwhile.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	addr, _ := rig.Up(t, web.HTTP(e.Client, "echo"), web.ServerConfig{HeaderTimeout: 2 * time.Second})
	var slow []net.Conn
	for range 50 {
		c := rig.Dial(t, addr)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
		slow = append(slow, c)
	}
	for range 5 {
		othersAreServed(t, addr)
	}
	for _, c := range slow {
		closed(t, c)
	}
}

func TestOversizedHeaders(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	addr, _ := rig.Up(t, web.HTTP(e.Client, "echo"), web.ServerConfig{MaxHeader: 8 << 10})
	c := rig.Dial(t, addr)
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nX-A: %s\r\n\r\n", strings.Repeat("a", 16<<10))
	if got := closed(t, c); !strings.HasPrefix(got, "HTTP/1.1 431 ") {
		t.Errorf("%.100q", got)
	}
}

// Bodies that are too long are refused, with or without a Content-Length, and are not read to their
// end.
func TestOversizedBodies(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	addr, _ := rig.Up(t, web.HTTP(e.Client, "echo", web.MaxBody(1000)), web.ServerConfig{})
	head := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	endless := strings.Repeat("3e8\r\n"+strings.Repeat(" ", 1000)+"\r\n", 3)
	for name, request := range map[string]string{
		"says so":   head + "Content-Length: 1001\r\n\r\n",
		"says much": head + "Content-Length: 9223372036854775807\r\n\r\n",
		"chunked":   head + "Transfer-Encoding: chunked\r\n\r\n" + endless, // and continues
		"chunked, one byte": head + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat(" ", 1001) +
			"\r\n0\r\n\r\n",
		"expects to continue": head + "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n",
	} {
		c := rig.Dial(t, addr)
		fmt.Fprint(c, request)
		if got := closed(t, c); !strings.HasPrefix(got, "HTTP/1.1 413 ") || !strings.Contains(got, `"too_large"`) {
			t.Errorf("%s: %.200q", name, got)
		}
	}
	exact := rig.Asked("POST", "http://"+addr+"/", `"`+strings.Repeat("a", 998)+`"`)
	if got := rig.Fetch(t, exact); got.Status != http.StatusOK {
		t.Errorf("1000 bytes: %+v", got)
	}
	if _, n := e.Request(); n != 1 {
		t.Errorf("%d requests got through", n)
	}
}

// A body above the client's MaxPayload is answered with 413 too.
func TestBodyTooLongForTheClient(t *testing.T) {
	s := rig.NewStand(t)
	h := web.HTTP(s.Client(t, gateways.ClientConfig{MaxPayload: 100}), "echo")
	if got := rig.Ask(h, rig.Asked("POST", "/", `"`+strings.Repeat("a", 200)+`"`)); got.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("%+v", got)
	}
}

// A body that arrives too slowly is answered with 408, and one that ends early with 400. The
// service receives neither.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	addr, _ := rig.Up(t, web.HTTP(e.Client, "echo"), web.ServerConfig{BodyTimeout: 2 * time.Second})
	head := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	slow := map[string]net.Conn{"length": rig.Dial(t, addr), "chunked": rig.Dial(t, addr)}
	fmt.Fprint(slow["length"], head+"Content-Length: 10\r\n\r\n{\"a")
	fmt.Fprint(slow["chunked"], head+"Transfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n")
	tries := 0
	redistest.Soon(t, "others are served", func() bool { // on a busy machine they are too slow as well
		tries++
		return rig.Fetch(t, rig.Asked("POST", "http://"+addr+"/", "{}")).Status == http.StatusOK
	})
	for name, c := range slow {
		if got := closed(t, c); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
			t.Errorf("%s: %.200q", name, got)
		}
	}
	if _, n := e.Request(); n > tries {
		t.Errorf("%d requests got through", n)
	}
}

// BodyTimeout does not limit a call once its body has been read in time.
func TestSlowCallWithABody(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "slow", func(ctx context.Context, _ struct{}) (string, error) {
			wait, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
			defer cancel()
			<-wait.Done()
			return "done", ctx.Err()
		})
	})
	h := web.HTTP(s.Client(t, gateways.ClientConfig{}), "slow")
	addr, _ := rig.Up(t, h, web.ServerConfig{BodyTimeout: time.Second, WriteTimeout: time.Second})
	redistest.Soon(t, "it is answered", func() bool { // on a busy machine the body or the reply may be late indeed
		got, err := rig.TryFetch(rig.Asked("POST", "http://"+addr+"/", "{}"))
		return err == nil && got.Status == http.StatusOK && got.Body == "done"
	})
}

// A client that does not read its response is disconnected, and does not delay others.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	big := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/big" {
			return
		}
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				ended <- err
				return
			}
		}
	})
	addr, _ := rig.Up(t, big, web.ServerConfig{WriteTimeout: time.Second})
	c := rig.Dial(t, addr)
	fmt.Fprint(c, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	othersAreServed(t, addr)
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}

// If a caller disconnects, its handler in the service is cancelled.
func TestDisconnectCancelsTheHandler(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	began, cancelled := make(chan struct{}), make(chan struct{})
	svc := s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "wait", func(ctx context.Context, _ struct{}) (string, error) {
			close(began)
			<-ctx.Done()
			close(cancelled)
			return "", ctx.Err()
		})
	})
	h := web.HTTP(s.Client(t, gateways.ClientConfig{Timeout: time.Hour}), "wait")
	lines := &logLines{}
	addr, _ := rig.Up(t, h, web.ServerConfig{Log: lines.log()})
	for _, body := range []string{""} {
		c := rig.Dial(t, addr)
		fmt.Fprintf(
			c,
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s",
			strconv.Itoa(len(body)),
			body,
		)
		<-began
		c.Close()
	}
	<-cancelled
	redistest.Soon(
		t,
		"it is counted",
		func() bool { return h.Stats() == web.EndpointStats{Gone: 1} && svc.Stats().Cancelled == 1 },
	)
	redistest.Soon(t, "it is in the access log", func() bool { return strings.Contains(lines.text(), `"status":499`) })
	if strings.Contains(lines.text(), `"level":"warn"`) || strings.Contains(lines.text(), `"level":"error"`) {
		t.Errorf("it is a fault in the log:\n%s", lines.text())
	}
}

// Cross-site requests of browsers that change something are refused. Reads are allowed, and so are
// other programs.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	addr, _ := rig.Up(
		t,
		web.HTTP(e.Client, "echo"),
		web.ServerConfig{TrustedOrigins: []string{"https://app.example.com"}},
	)
	for _, c := range []struct {
		method, origin, site string
		status               int
	}{
		{"POST", "https://evil.example.com", "cross-site", 403},
		{"POST", "https://evil.example.com", "", 403},
		{"POST", "https://app.example.com", "cross-site", 200},
		{"POST", "http://" + addr, "same-origin", 200},
		{"POST", "", "", 200},
		{"GET", "https://evil.example.com", "cross-site", 200},
	} {
		r := rig.Asked(c.method, "http://"+addr+"/", "{}")
		if c.method == "GET" {
			r = rig.Asked(c.method, "http://"+addr+"/", "")
		}
		r.Header.Set("Origin", c.origin)
		r.Header.Set("Sec-Fetch-Site", c.site)
		if got := rig.Fetch(t, r); got.Status != c.status {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// HEAD, OPTIONS and wrong methods behave as with the standard mux.
func TestMethodsByTheMux(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	e.Mux.Handle("GET /books/{id}", web.HTTP(e.Client, "echo"))
	addr, _ := rig.Up(t, e.Mux, web.ServerConfig{})
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "OPTIONS": 405, "POST": 405, "TRACE": 405} {
		got := rig.Fetch(t, rig.Asked(method, "http://"+addr+"/books/42", ""))
		if got.Status != want || (want == 405) != (got.Header.Get("Allow") == "GET, HEAD") {
			t.Errorf("%s: %+v", method, got)
		}
		if method == "HEAD" && (got.Body != "" || got.Header.Get("Content-Length") != "11") {
			t.Errorf("HEAD: %+v", got)
		}
	}
	up := rig.Asked("GET", "http://"+addr+"/books/../etc/passwd", "")
	if got := rig.Fetch(t, up); got.Status != http.StatusNotFound {
		t.Errorf("a path upwards: %+v", got)
	}
}
