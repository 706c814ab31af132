package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways/web"
)

// overHTTP measures request and reply over HTTP. Each connection stays open and posts an order as
// JSON, and the service returns the priced order. The load generator runs in this process and is as
// cheap as possible.
func overHTTP(connections int) Case {
	c := calls(connections)
	c.Name, c.http = "http-"+strconv.Itoa(connections), true
	c.About = fmt.Sprintf("calls-%d over %d persistent HTTP connections; ratios are of rates", connections, connections)
	c.Reference, c.N = "goredis-coalescing", 40_000
	c.Implementations = []Implementation{
		{
			Name:  "default",
			Ours:  true,
			About: "web.HTTP on web.Serve, and a Service",
			Run:   c.askingHTTP(routed, serveGateways),
		},
		{
			Name:  "handler-over-call",
			About: "a hand-written handler on net/http's server, over a gateways.Client",
			Run:   c.askingHTTP(callGateways, servePlain),
		},
		{
			Name:  "goredis-coalescing",
			About: "the same handler over go-redis by hand",
			Run:   c.askingHTTP(callByHand, servePlain),
		},
		{
			Name: "goredis-concurrent",
			About: "the features of a route and a Service by hand: checked JSON, request ID, trace, timeouts; " +
				"64 concurrent handlers with deadlines",
			Run: c.askingHTTP(routeByHand, servePatiently),
		},
	}
	return c
}

func (c Case) askingHTTP(
	open func(context.Context, *Trial) (call, error), serve func(context.Context, net.Listener, http.Handler) error,
) runFunc {
	return c.asking(func(ctx context.Context, t *Trial) (call, error) {
		return behindHTTP(ctx, t, c.callers, open, serve)
	})
}

// routed is callGateways behind an HTTP route.
func routed(ctx context.Context, t *Trial) (call, error) {
	c, err := callGateways(ctx, t)
	if err == nil {
		c.handler = web.HTTP(c.client, "price")
	}
	return c, err
}

// behindHTTP serves a call over HTTP.
func behindHTTP(
	ctx context.Context, t *Trial, connections int, open func(context.Context, *Trial) (call, error),
	serve func(context.Context, net.Listener, http.Handler) error,
) (call, error) {
	c, err := open(ctx, t)
	if err != nil {
		return call{}, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return call{}, errors.Join(err, c.end())
	}
	h := c.handler
	if h == nil {
		h = byHandOver(c.raw)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /", h)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- serve(serving, l, mux) }() // end waits for it
	free, hangUp, err := dial(l.Addr().String(), connections)
	end := func() error {
		hangUp()
		stop()
		return errors.Join(<-done, c.end())
	}
	if err != nil {
		return call{}, errors.Join(err, end())
	}
	return call{do: func(_ context.Context, x *example) error {
		k := <-free
		defer func() { free <- k }()
		got, err := k.exchange(x.body)
		if err == nil && (got.status != http.StatusOK || !bytes.Equal(got.body, x.answer)) {
			err = fmt.Errorf("answered %d: %.200q", got.status, got.body)
		}
		return err
	}, end: end}, nil
}

func serveGateways(ctx context.Context, l net.Listener, h http.Handler) error {
	return web.Serve(ctx, l, h, web.ServerConfig{})
}

func servePlain(ctx context.Context, l net.Listener, h http.Handler) error {
	return serveWith(ctx, l, &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second})
}

func serveWith(ctx context.Context, l net.Listener, s *http.Server) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// byHandOver is the smallest handler that calls do.
func byHandOver(do func(context.Context, []byte) ([]byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := do(r.Context(), body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})
}

// browser is one connection of a minimal HTTP client, which understands only these replies.
type browser struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string, n int) (free chan browser, hangUp func(), err error) {
	var all []net.Conn
	hangUp = func() {
		for _, c := range all {
			_ = c.Close()
		}
	}
	free = make(chan browser, n)
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, hangUp, err
		}
		all = append(all, c)
		free <- browser{c, bufio.NewReader(c)}
	}
	return free, hangUp, nil
}

// page is the response to a browser.
type page struct {
	status     int
	retryAfter string
	body       []byte
}

// exchange posts JSON and returns the response, whatever its status.
func (b browser) exchange(body []byte) (got page, err error) {
	_, err = fmt.Fprintf(
		b,
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(body),
		body,
	)
	if err != nil {
		return got, err
	}
	status, err := b.r.ReadString('\n')
	if err != nil {
		return got, err
	}
	if f := strings.Fields(status); len(f) > 1 {
		got.status, err = strconv.Atoi(f[1])
	}
	length := 0
	for err == nil {
		var line string
		if line, err = b.r.ReadString('\n'); err != nil {
			break
		}
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "Content-Length":
			length, err = strconv.Atoi(value)
		case "Retry-After":
			got.retryAfter = value
		}
	}
	if err != nil {
		return got, err
	}
	got.body = make([]byte, length)
	_, err = io.ReadFull(b.r, got.body)
	return got, err
}
