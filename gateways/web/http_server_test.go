package web_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// logLines keeps the logged lines.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logLines) log() *slog.Logger {
	return slog.New(zerolog.NewSlogHandler(zerolog.New(l).Level(zerolog.InfoLevel)))
}

// A panic in middleware is answered with 500 and logged, and the server keeps running. A partial
// response does not look complete.
func TestPanickingMiddleware(t *testing.T) {
	lines := &logLines{}
	addr, _ := rig.Up(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half")
			panic("late")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		panic("early")
	}), web.ServerConfig{Log: lines.log()})
	if got := rig.Fetch(t, rig.Asked("GET", "http://"+addr+"/", "")); got.Status != 500 ||
		got.Failure(t).Code != gateways.CodeInternal {
		t.Errorf("%+v", got)
	}
	for _, path := range []string{"/late", "/abort"} {
		c := rig.Dial(t, addr)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		if got := closed(t, c); strings.HasSuffix(got, "}") {
			t.Errorf("%s: %q", path, got)
		}
	}
	if text := lines.text(); strings.Count(text, "handler panicked") != 2 ||
		!strings.Contains(text, "http_server_test.go") {
		t.Errorf("the log:\n%s", text)
	}
}

// The log has a line for each request, without its query or body.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	lines := &logLines{}
	addr, stop := rig.Up(t, web.HTTP(e.Client, "echo"), web.ServerConfig{Log: lines.log()})
	rig.Fetch(t, rig.Asked("POST", "http://"+addr+"/a%0Ab?token=secret", `{"password":"secret"}`, "X-Request-Id: r-1"))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	text := lines.text()
	for _, want := range []string{`"method":"POST"`, `"path":"/a%0Ab"`, `"status":200`, `"bytes":21`, `"ms":`, `"id":"r-1"`, "http: serving", "http: stopping"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "token") {
		t.Errorf("it tells:\n%s", text)
	}
}

// A stopping server answers requests in flight, and accepts no new ones.
func TestServeEndsInOrder(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	addr, stop := rig.Up(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-finish
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, "done")
	}), web.ServerConfig{})
	unused := rig.Dial(t, addr) // as browsers open in advance
	c := rig.Dial(t, addr)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	ended := make(chan error, 1)
	go func() { ended <- stop() }() // received below
	closed(t, unused)
	select {
	case err := <-ended:
		t.Fatalf("it ended with a request under way: %v", err)
	default:
	}
	close(finish)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := closed(t, c); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "done") {
		t.Errorf("%q", got)
	}
}

// The contexts of streams and of hijacked connections are cancelled at once.
func TestServeEndsStreams(t *testing.T) {
	causes := make(chan error, 2)
	addr, stop := rig.Up(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if r.URL.Path == "/socket" {
			c, rw, err := rc.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			rw.Flush()
		} else {
			fmt.Fprint(w, "data: 1\n\n")
			if err := rc.Flush(); err != nil {
				t.Error(err)
			}
		}
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	}), web.ServerConfig{StopTimeout: time.Hour})
	for _, path := range []string{"/stream", "/socket"} {
		c := rig.Dial(t, addr)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 ") {
			t.Fatal(line, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if cause := <-causes; cause != web.ErrStopping {
			t.Errorf("the cause is %v", cause)
		}
	}
}

// Requests that do not end in time have their context cancelled. A call is then answered with 503.
func TestServeStopTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a busy machine would not answer within the last second
		redis := embedded.Pipe()
		defer redis.Close()
		rdb := redis.Client()
		defer rdb.Close()
		client := gateways.NewClient(rdb, "topic", gateways.ClientConfig{Timeout: time.Hour})
		ctx, stop := context.WithCancel(t.Context())
		p, ended := served(ctx, web.HTTP(client, "nobody"), web.ServerConfig{StopTimeout: 50 * time.Millisecond})
		c, _ := p.dial()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		redistest.Soon(
			t,
			"the request is in the stream",
			func() bool { return rdb.XLen(t.Context(), "topic").Val() > 0 },
		)
		stop()
		if got := closed(t, c); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "Retry-After") {
			t.Errorf("%q", got)
		}
		if err := errors.Join(<-ended, client.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
}

// A handler that ignores its context is abandoned, and Serve returns an error.
func TestServeCutsOff(t *testing.T) {
	t.Parallel()
	began, finish := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-finish
	})
	l, err := web.Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	// received below
	go func() { ended <- web.Serve(ctx, l, h, web.ServerConfig{StopTimeout: 10 * time.Millisecond}) }()
	c := rig.Dial(t, l.Addr().String())
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "did not end within") {
		t.Error(err)
	}
	closed(t, c)
	close(finish)
}

// Connections beyond the limit wait until another one ends.
func TestMaxConnections(t *testing.T) {
	addr, _ := rig.Up(t, web.Healthy(), web.ServerConfig{MaxConnections: 1})
	first, second := rig.Dial(t, addr), rig.Dial(t, addr)
	ask := func(c interface {
		Write([]byte) (int, error)
		Read([]byte) (int, error)
	}) string {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	if got := ask(first); got != "HTTP/1.1 200 OK" {
		t.Error(got)
	}
	first.Close()
	if got := ask(second); got != "HTTP/1.1 200 OK" {
		t.Error(got)
	}
}

func TestServerConfig(t *testing.T) {
	for _, cfg := range []web.ServerConfig{{HeaderTimeout: -1}, {BodyTimeout: -1}, {WriteTimeout: -1}, {IdleTimeout: -1}, {MaxHeader: -1},
		{MaxConnections: -1}, {StopTimeout: -1}, {TrustedOrigins: []string{"example.com"}}} {
		l, err := web.Listen("localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		var wrong *redisio.ConfigError
		if err := web.Serve(t.Context(), l, http.NotFoundHandler(), cfg); !errors.As(err, &wrong) ||
			wrong.Fix == "" {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestListenErrors(t *testing.T) {
	l, err := web.Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for addr, says := range map[string]string{l.Addr().String(): "the port is in use",
		"localhost:99999999": "choose an address of this machine"} {
		_, err := web.Listen(addr)
		var failed *web.ListenError
		if !errors.As(err, &failed) || failed.Addr != addr || failed.Unwrap() == nil ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestReady(t *testing.T) {
	fails := errors.New("no Redis")
	h := web.Ready(func() error { return nil }, func() error { return fails })
	if got := rig.Ask(h, rig.Asked("GET", "/", "")); got.Status != 503 || got.Body != "no Redis\n" {
		t.Errorf("%+v", got)
	}
	fails = nil
	for _, h := range []http.Handler{h, web.Healthy()} {
		if got := rig.Ask(h, rig.Asked("GET", "/", "")); got.Status != 200 || got.Body != "ok\n" {
			t.Errorf("%+v", got)
		}
	}
}
