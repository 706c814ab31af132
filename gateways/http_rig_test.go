package gateways_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// seen is what a service was asked.
type seen struct {
	mu   sync.Mutex
	last gateways.Request
	n    int
}

func (s *seen) note(r *gateways.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = *r
	s.n++
}

func (s *seen) request() (gateways.Request, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.n
}

func (s *seen) header(name string) string {
	r, _ := s.request()
	v, _ := r.Headers.Get(name)
	return v
}

// edge is a topic with a service that echoes what it gets as JSON, and a client for routes to it.
type edge struct {
	*stand
	*seen
	client *gateways.Client
	mux    *http.ServeMux
}

func newEdge(t testing.TB) *edge {
	s := newStand(t)
	e := &edge{stand: s, seen: &seen{}, mux: http.NewServeMux()}
	s.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc("echo", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
			e.note(r)
			return gateways.Response{Body: r.Body, ContentType: r.ContentType}, nil
		})
	})
	e.client = s.client(t, gateways.ClientConfig{})
	return e
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

// field is what is wrong, by the JSON of an error.
func (r reply) failure(t testing.TB) gateways.HTTPErrorDetail {
	t.Helper()
	var e gateways.HTTPError
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		t.Fatalf("%d %q is no error: %v", r.status, r.body, err)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("an error of type %q", got)
	}
	return e.Error
}

// asked is a request, with headers as "Name: value".
func asked(method, target, body string, headers ...string) *http.Request {
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, b)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Content-Type" {
			r.Header.Del(name)
		}
		r.Header.Add(name, value)
	}
	return r
}

func ask(h http.Handler, r *http.Request) reply {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return reply{w.Code, w.Result().Header, w.Body.String()}
}

// up serves a handler until the test ends, and returns its address. The function it returns ends it before.
func up(t testing.TB, h http.Handler, cfg gateways.ServerConfig) (addr string, stop func() error) {
	t.Helper()
	l, err := gateways.Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	return upOn(t, l, h, cfg)
}

func upOn(t testing.TB, l net.Listener, h http.Handler, cfg gateways.ServerConfig) (addr string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	var ended error
	serving.Go(func() { ended = gateways.Serve(ctx, l, h, cfg) })
	stop = sync.OnceValue(func() error {
		cancel()
		serving.Wait()
		return ended
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	return l.Addr().String(), stop
}

// dial opens a connection on which nothing may take longer than half a minute.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(redistest.Patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// fetch asks a server on a connection of its own.
func fetch(t testing.TB, r *http.Request) reply {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	r.RequestURI = ""
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{got.StatusCode, got.Header, string(b)}
}

func header(name, value string) flow.Headers { return flow.Headers{{Name: name, Value: value}} }
