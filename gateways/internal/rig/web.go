package rig

import (
	"cmp"
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
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Seen records the requests of a service.
type Seen struct {
	mu   sync.Mutex
	last gateways.Request
	n    int
}

func (s *Seen) note(r *gateways.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = *r
	s.n++
}

func (s *Seen) Request() (gateways.Request, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.n
}

func (s *Seen) Header(name string) string {
	r, _ := s.Request()
	v, _ := r.Headers.Get(name)
	return v
}

// Edge is a topic with a service that echoes its requests as JSON, and a client for routes to it.
type Edge struct {
	*Stand
	*Seen
	Client *gateways.Client
	Mux    *http.ServeMux
}

func NewEdge(t testing.TB) *Edge {
	s := NewStand(t)
	e := &Edge{Stand: s, Seen: &Seen{}, Mux: http.NewServeMux()}
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		svc.HandleFunc("echo", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
			e.note(r)
			return gateways.Response{Body: r.Body, ContentType: r.ContentType}, nil
		})
	})
	e.Client = s.Client(t, gateways.ClientConfig{})
	return e
}

// Reply is a received HTTP response.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// field returns the invalid field that the JSON of an error names.
func (r Reply) Failure(t testing.TB) problem.Detail {
	t.Helper()
	var e problem.Body
	if err := json.Unmarshal([]byte(r.Body), &e); err != nil {
		t.Fatalf("%d %q is no error: %v", r.Status, r.Body, err)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("an error of type %q", got)
	}
	return e.Error
}

// Asked returns a request with headers given as "Name: value".
func Asked(method, target, body string, headers ...string) *http.Request {
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

func Ask(h http.Handler, r *http.Request) Reply {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return Reply{w.Code, w.Result().Header, w.Body.String()}
}

// Up serves a handler until the test ends, and returns its address. The returned function stops it
// earlier.
func Up(t testing.TB, h http.Handler, cfg web.ServerConfig) (addr string, stop func() error) {
	t.Helper()
	l, err := web.Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	return UpOn(t, l, h, cfg)
}

func UpOn(t testing.TB, l net.Listener, h http.Handler, cfg web.ServerConfig) (addr string, stop func() error) {
	t.Helper()
	// Clients and handlers of tests are slow on a busy machine.
	cfg.HeaderTimeout = cmp.Or(cfg.HeaderTimeout, redistest.Patience)
	cfg.StopTimeout = cmp.Or(cfg.StopTimeout, redistest.Patience)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	var ended error
	serving.Go(func() { ended = web.Serve(ctx, l, h, cfg) })
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

// Dial opens a connection with a deadline of half a minute.
func Dial(t testing.TB, addr string) net.Conn {
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

// Fetch sends a request on a new connection.
func Fetch(t testing.TB, r *http.Request) Reply {
	t.Helper()
	got, err := TryFetch(r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TryFetch is Fetch for servers that may close the connection before the request was sent.
func TryFetch(r *http.Request) (Reply, error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	r.RequestURI = ""
	got, err := c.Do(r)
	if err != nil {
		return Reply{}, err
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	return Reply{got.StatusCode, got.Header, string(b)}, err
}

func Header(name, value string) flow.Headers { return flow.Headers{{Name: name, Value: value}} }
