package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/bodies"
	"github.com/streamerson/streamerson-go/gateways/internal/places"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/redisio"
)

// ErrStopping is the cause of cancelled request contexts when the server stops; see Serve.
var ErrStopping = errors.New("gateways: the server is stopping")

// ServerConfig configures Serve. The zero value is the default.
type ServerConfig struct {
	// HeaderTimeout is the longest time to receive a request's header. Defaults to 5 s.
	HeaderTimeout time.Duration
	// BodyTimeout is the longest time to receive a request's body. Defaults to 30 s.
	BodyTimeout time.Duration
	// WriteTimeout is the longest time a client may take to read 64 KiB of a reply. A stream may
	// last as long as its client keeps reading. Defaults to 30 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection is kept between requests. It must exceed the idle
	// timeout of a load balancer in front: otherwise the balancer sends requests on closing
	// connections and answers them with 502. Defaults to 2 minutes. Common balancers use 60 to 75
	// s, Google Cloud's 10 minutes.
	IdleTimeout time.Duration
	// MaxHeader limits the bytes of a request's header. Defaults to 32 KiB.
	MaxHeader int
	// MaxConnections limits the open connections. Further connections wait until one closes.
	// WebSockets leave a sixteenth of them, at most 64, to other requests such as health checks;
	// further WebSockets are refused with 503. Defaults to 16,384.
	MaxConnections int
	// BodyMemory limits the bytes of request bodies that the routes of this server hold at once,
	// from the first byte until the request is answered, including those of jobs and durable.
	// Bodies that exceed it are answered with 503. One body may use at most three quarters of it.
	// Defaults to 64 MiB. All routes behind other servers share another 64 MiB.
	BodyMemory int64
	// SendBuffer limits the bytes that the operating system buffers for a connection. Streaming
	// connections, such as those of SSE and ws, use at most 64 KiB. Defaults to 256 KiB. Negative
	// keeps the system's own limit of some megabytes, with which slow readers may exceed
	// WriteTimeout.
	SendBuffer int
	// LameDuck is how long the server keeps serving after ctx is done, before it closes its
	// listener. Meanwhile Ready fails and replies have "Connection: close", so balancers and
	// browsers connect elsewhere. Use a few probe intervals of the balancer; Kubernetes needs about
	// 5 s. Defaults to 0.
	LameDuck time.Duration
	// StopTimeout is how long running requests may take to end when the server stops. Defaults to
	// 10 s.
	StopTimeout time.Duration
	// TrustedOrigins are other origins, such as https://app.example.com, from which pages may send
	// requests that change something. Defaults to none: only the server's own origin, see
	// http.CrossOriginProtection.
	TrustedOrigins []string
	// TLS serves HTTPS over HTTP/1.1 and HTTP/2. Defaults to plain HTTP/1.1.
	TLS *tls.Config
	// Log receives a line per request at Info, with method, path, status, duration and bytes, never
	// a query or a payload. Faults are logged at Warn. Defaults to the warnings and errors of
	// slog.Default, see flow.Logger.
	Log *slog.Logger
}

func (c ServerConfig) withDefaults() ServerConfig {
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 5*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 30*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 2*time.Minute)
	c.MaxHeader = cmp.Or(c.MaxHeader, 32<<10)
	c.MaxConnections = cmp.Or(c.MaxConnections, 16<<10)
	c.BodyMemory = cmp.Or(c.BodyMemory, bodies.DefaultMemory)
	c.SendBuffer = cmp.Or(c.SendBuffer, defaultSendBuffer)
	c.StopTimeout = cmp.Or(c.StopTimeout, 10*time.Second)
	c.Log = flow.Thinned(c.Log)
	return c
}

// validate adds the trusted origins to origins.
func (c ServerConfig) validate(origins *http.CrossOriginProtection) error {
	m := redisio.MistakesOf("ServerConfig")
	m.Negative("HeaderTimeout", int64(c.HeaderTimeout), "leave it 0 for 5 seconds")
	m.Negative("BodyTimeout", int64(c.BodyTimeout), "leave it 0 for 30 seconds")
	m.Negative("WriteTimeout", int64(c.WriteTimeout), "leave it 0 for 30 seconds")
	m.Negative("IdleTimeout", int64(c.IdleTimeout), "leave it 0 for 2 minutes")
	m.Negative("MaxHeader", int64(c.MaxHeader), "leave it 0 for 32 KiB")
	m.Negative("MaxConnections", int64(c.MaxConnections), "leave it 0 for 16,384")
	m.Negative("BodyMemory", int64(c.BodyMemory), "leave it 0 for 64 MiB")
	m.Negative("LameDuck", int64(c.LameDuck), "leave it 0 to stop at once")
	m.Negative("StopTimeout", int64(c.StopTimeout), "leave it 0 for 10 seconds")
	for _, o := range c.TrustedOrigins {
		m.If(origins.AddTrustedOrigin(o) != nil, "TrustedOrigins", "has "+quoted(o),
			"write origins like https://app.example.com")
	}
	return m.Err()
}

// Serve serves HTTP on a listener until ctx is done and running requests have ended. It closes the
// listener. It returns nil after a clean stop.
//
// Serve has timeouts and limits for production: it disconnects slow clients, limits headers and
// connections, answers a handler's panic with 500, and refuses cross-origin requests of browsers
// that change something.
//
// When ctx is done and LameDuck has passed, Serve accepts no more connections and lets running
// requests end. The contexts of streaming requests, which have flushed or hijacked their
// connection, are cancelled with the cause ErrStopping. After StopTimeout all remaining contexts
// are cancelled. A second later their connections are closed, and Serve returns an error.
func Serve(ctx context.Context, l net.Listener, h http.Handler, cfg ServerConfig) error {
	cfg = cfg.withDefaults()
	origins := http.NewCrossOriginProtection()
	if err := cfg.validate(origins); err != nil {
		return errors.Join(err, l.Close())
	}
	s := &server{cfg: cfg, conns: make(map[net.Conn]*connection)}
	origins.SetDenyHandler(http.HandlerFunc(s.deny))
	s.next = origins.Handler(h)
	return s.Serve(ctx, l)
}

// server is the state of one Serve.
type server struct {
	cfg      ServerConfig
	next     http.Handler
	listener *limited
	leaving  atomic.Bool  // ctx is done
	denied   atomic.Int64 // cross-origin requests refused

	mu       sync.Mutex
	conns    map[net.Conn]*connection // at most MaxConnections
	active   int                      // requests; http.Server does not count hijacked ones
	stopping bool
	idle     chan struct{} // closed when active reaches 0; nil until it is stopping
}

// deny refuses a cross-origin request.
func (s *server) deny(w http.ResponseWriter, r *http.Request) {
	if n := s.denied.Add(1); n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th …
		s.cfg.Log.Warn(
			"http: cross-origin request refused",
			"fix",
			"if a proxy rewrites Host, let it forward Host, or add the origin to TrustedOrigins",
			"origin",
			problem.Cut(r.Header.Get("Origin")),
			"host",
			problem.Cut(r.Host),
			"path",
			problem.LogPath(r),
			"refused",
			n,
		)
	}
	problem.New(gateways.CodeForbidden, "cross-origin request refused: add the origin to TrustedOrigins").Write(w)
}

// cutOff is how long requests may take to end after their context is cancelled.
const cutOff = time.Second

func (s *server) Serve(ctx context.Context, l net.Listener) error {
	s.listener = limit(l, s.cfg.MaxConnections, s.cfg.SendBuffer)
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // the parent of all request contexts
	base = places.With(base, places.Of(s.cfg.MaxConnections))
	base = bodies.With(base, bodies.Of(s.cfg.BodyMemory))
	defer cancel(ErrStopping)
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.cfg.HeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    s.cfg.MaxHeader,
		TLSConfig:         s.cfg.TLS,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       s.connected,
		ConnState:         s.changed,
		ErrorLog:          log.New(faultLog{s.cfg.Log}, "", 0),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250, WriteByteTimeout: s.cfg.WriteTimeout},
	}
	stopped := make(chan error, 1)
	ended := make(chan struct{})
	release := context.AfterFunc(ctx, func() {
		s.linger(ended)
		stopped <- s.stop(srv, cancel)
	})
	s.cfg.Log.Info("http: serving", "addr", l.Addr().String())
	var err error
	if s.cfg.TLS != nil {
		err = srv.ServeTLS(s.listener, "", "")
	} else {
		err = srv.Serve(s.listener)
	}
	close(ended)
	if !release() { // ctx is done: stop is running
		return <-stopped
	}
	cancel(ErrStopping)
	return errors.Join(fmt.Errorf("gateways: serve: %w", err), srv.Close())
}

// linger keeps serving for LameDuck, or until the listener ends.
func (s *server) linger(ended <-chan struct{}) {
	s.leaving.Store(true)
	if s.cfg.LameDuck == 0 {
		return
	}
	s.cfg.Log.Info("http: no longer ready", "lame_duck", s.cfg.LameDuck.String())
	t := time.NewTimer(s.cfg.LameDuck)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ended:
	}
}

// stop waits for running requests, then cancels their contexts, then closes their connections.
func (s *server) stop(srv *http.Server, cancel context.CancelCauseFunc) error {
	s.cfg.Log.Info("http: stopping")
	idle := s.begin()
	wait := func(d time.Duration) error {
		ctx, done := context.WithTimeout(context.Background(), d)
		defer done()
		if err := srv.Shutdown(ctx); err != nil {
			return err
		}
		select {
		case <-idle:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if wait(s.cfg.StopTimeout) == nil {
		return nil
	}
	cancel(ErrStopping)
	if wait(cutOff) == nil {
		return nil
	}
	return errors.Join(
		fmt.Errorf("gateways: requests did not end within %v and were closed", s.cfg.StopTimeout+cutOff),
		srv.Close(),
	)
}

// begin starts the stop. The returned channel is closed when no request is running.
func (s *server) begin() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping, s.idle = true, make(chan struct{})
	if s.active == 0 {
		close(s.idle)
	}
	for c, state := range s.conns {
		switch {
		case state.fresh: // browsers open connections that they may never use
			_ = c.Close()
		case state.streams:
			state.cancel(ErrStopping)
		}
	}
	return s.idle
}

// faultLog logs the messages of http.Server, one per line.
type faultLog struct{ log *slog.Logger }

func (f faultLog) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.Contains(p, []byte("TLS handshake error")) { // scanners, mostly
		level = slog.LevelDebug
	}
	f.log.Log(context.Background(), level, strings.TrimSpace(string(p)))
	return len(p), nil
}
