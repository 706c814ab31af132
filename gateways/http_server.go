package gateways

import (
	"bytes"
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
	"github.com/streamerson/streamerson-go/gateways/internal/places"
	"github.com/streamerson/streamerson-go/redisio"
)

// ErrStopping is the cause with which contexts of requests end when their server stops; see Serve.
var ErrStopping = errors.New("gateways: the server is stopping")

// ServerConfig configures Serve. The zero value is the default.
type ServerConfig struct {
	// HeaderTimeout is how long a caller may take to send a request's header. The default is 5 s.
	HeaderTimeout time.Duration
	// BodyTimeout is how long it may take to send the body. The default is 30 s.
	BodyTimeout time.Duration
	// WriteTimeout is how long a reader may take for each 64 KiB of a reply, so that a stream may go on for
	// as long as its reader reads. Defaults to 30 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection is kept between requests. It has to be longer than that of a
	// balancer in front, or else the balancer sends requests on connections that are being closed, which it
	// answers with 502. Defaults to 2 minutes: common ones have 60 to 75 s. Google Cloud's has 10 minutes.
	IdleTimeout time.Duration
	// MaxHeader bounds the bytes of a request's header. The default is 32 KiB.
	MaxHeader int
	// MaxConnections bounds the connections; who comes then waits until one is free. The default is
	// 16,384. WebSockets leave a sixteenth of them, 64 at most, to other requests, such as health
	// checks: then they are refused with 503.
	MaxConnections int
	// BodyMemory is how many bytes of request bodies the routes of this server hold at once, from the
	// first byte until the request is answered. Bodies beyond it are answered with 503. One body takes three
	// quarters of it at most. Defaults to 64 MiB, which all routes behind other servers share.
	BodyMemory int64
	// SendBuffer is how many bytes the system may hold that were sent on a connection and not yet taken by
	// its reader. Defaults to 256 KiB. Connections that stream, such as those of SSE and ws, have at
	// most 64 KiB. Negative leaves it to the system: some megabytes, and slow readers may exceed WriteTimeout.
	SendBuffer int
	// LameDuck is how long the server still serves after ctx is done, before it closes its listener.
	// Meanwhile Ready fails, and replies have "Connection: close", so that balancers and browsers go elsewhere.
	// Use some probe intervals of the balancer; Kubernetes needs about 5 s. Defaults to 0.
	LameDuck time.Duration
	// StopTimeout is how long requests may take to end when the server stops. The default is 10 s.
	StopTimeout time.Duration
	// TrustedOrigins are the origins, as https://app.example.com, whose pages may send what changes
	// something. The default is none but the server's own: see http.CrossOriginProtection.
	TrustedOrigins []string
	// TLS serves HTTPS, by HTTP/1.1 and HTTP/2. The default is plain HTTP/1.1.
	TLS *tls.Config
	// Log gets a line for each request at Info, with method, path, status, duration and bytes,
	// never a query or a payload; and faults at Warn. Defaults to the warnings and errors of
	// slog.Default, see flow.Logger.
	Log *slog.Logger
}

func (c ServerConfig) withDefaults() ServerConfig {
	def(&c.HeaderTimeout, 5*time.Second)
	def(&c.BodyTimeout, 30*time.Second)
	def(&c.WriteTimeout, 30*time.Second)
	def(&c.IdleTimeout, 2*time.Minute)
	def(&c.MaxHeader, 32<<10)
	def(&c.MaxConnections, 16<<10)
	def(&c.BodyMemory, defaultBodyMemory)
	def(&c.SendBuffer, defaultSendBuffer)
	def(&c.StopTimeout, 10*time.Second)
	c.Log = flow.Thinned(c.Log)
	return c
}

func (c ServerConfig) validate() error {
	var errs []error
	bad := func(wrong bool, field, fix string) {
		if wrong {
			errs = append(
				errs,
				&redisio.ConfigError{Type: "ServerConfig", Field: field, Problem: "is negative", Fix: fix},
			)
		}
	}
	bad(c.HeaderTimeout < 0, "HeaderTimeout", "leave it 0 for 5 seconds")
	bad(c.BodyTimeout < 0, "BodyTimeout", "leave it 0 for 30 seconds")
	bad(c.WriteTimeout < 0, "WriteTimeout", "leave it 0 for 30 seconds")
	bad(c.IdleTimeout < 0, "IdleTimeout", "leave it 0 for 2 minutes")
	bad(c.MaxHeader < 0, "MaxHeader", "leave it 0 for 32 KiB")
	bad(c.MaxConnections < 0, "MaxConnections", "leave it 0 for 16,384")
	bad(c.BodyMemory < 0, "BodyMemory", "leave it 0 for 64 MiB")
	bad(c.LameDuck < 0, "LameDuck", "leave it 0 to stop at once")
	bad(c.StopTimeout < 0, "StopTimeout", "leave it 0 for 10 seconds")
	return errors.Join(errs...)
}

// Serve serves HTTP on a listener, which it closes, until ctx is done and what is under way has
// ended: nil is a clean end.
//
// It is a server for production: slow callers are cut off, headers and connections are bounded, a
// handler that panics is answered with 500, and browsers' cross-origin requests that change
// something are refused.
//
// When ctx is done, and LameDuck is over, no more connections are taken, requests under way may
// end, and those that stream (they have flushed, or taken over their
// connection) have their context cancelled with ErrStopping as its cause. What has not ended after
// StopTimeout has its context cancelled too, and is cut off a second later; that is an error.
func Serve(ctx context.Context, l net.Listener, h http.Handler, cfg ServerConfig) error {
	cfg = cfg.withDefaults()
	origins := http.NewCrossOriginProtection()
	err := cfg.validate()
	for _, o := range cfg.TrustedOrigins {
		if wrong := origins.AddTrustedOrigin(o); wrong != nil {
			err = errors.Join(
				err,
				&redisio.ConfigError{Type: "ServerConfig", Field: "TrustedOrigins", Problem: "has " + quoted(o),
					Fix: "write origins as https://app.example.com"},
			)
		}
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	s := &server{cfg: cfg, conns: make(map[net.Conn]*connection)}
	origins.SetDenyHandler(http.HandlerFunc(s.deny))
	s.next = origins.Handler(h)
	return s.serve(ctx, l)
}

// server is what Serve runs.
type server struct {
	cfg      ServerConfig
	next     http.Handler
	listener *limited
	bodies   budget
	leaving  atomic.Bool  // ctx is done
	denied   atomic.Int64 // requests of other origins

	mu       sync.Mutex
	conns    map[net.Conn]*connection // at most MaxConnections
	active   int                      // requests: http.Server knows nothing of those that have taken over their connection
	stopping bool
	idle     chan struct{} // closed when there are no more; nil until it is stopping
}

// deny refuses a request that a page of another origin made.
func (s *server) deny(w http.ResponseWriter, r *http.Request) {
	if n := s.denied.Add(1); n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th …
		s.cfg.Log.Warn("http: request of another origin refused",
			"fix", "if a proxy rewrites Host, have it pass Host on, or add the origin to TrustedOrigins",
			"origin", cut(r.Header.Get("Origin")), "host", cut(r.Host), "path", path(r), "refused", n)
	}
	refusal{Status: http.StatusForbidden, Code: CodeForbidden,
		Message: "cross-origin request refused; if a proxy rewrites Host, add the origin to TrustedOrigins"}.write(w)
}

// cutOff is how long requests have to end whose context has been cancelled.
const cutOff = time.Second

func (s *server) serve(ctx context.Context, l net.Listener) error {
	s.bodies.max = s.cfg.BodyMemory
	s.listener = limit(l, s.cfg.MaxConnections, s.cfg.SendBuffer)
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // of all requests
	base = places.With(base, places.Of(s.cfg.MaxConnections))
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
	if !release() { // it is being stopped
		return <-stopped
	}
	cancel(ErrStopping)
	return errors.Join(fmt.Errorf("gateways: serve: %w", err), srv.Close())
}

// linger serves on for LameDuck, unless the listener has ended.
func (s *server) linger(ended <-chan struct{}) {
	s.leaving.Store(true)
	if s.cfg.LameDuck == 0 {
		return
	}
	s.cfg.Log.Info("http: not ready any more", "lame_duck", s.cfg.LameDuck.String())
	t := time.NewTimer(s.cfg.LameDuck)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ended:
	}
}

// stop ends what is under way: by itself, by its context, or by force.
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
		fmt.Errorf("gateways: requests were cut off that did not end in %v", s.cfg.StopTimeout+cutOff),
		srv.Close(),
	)
}

// begin begins to stop. What it returns is closed when no request is under way.
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

// faultLog takes what http.Server has to say, a line at a time.
type faultLog struct{ log *slog.Logger }

func (f faultLog) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.Contains(p, []byte("TLS handshake error")) { // scanners, mostly
		level = slog.LevelDebug
	}
	f.log.Log(context.Background(), level, strings.TrimSpace(string(p)))
	return len(p), nil
}
