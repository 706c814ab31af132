// Package redistest provides real Redis servers for tests: one shared by the tests of a package,
// and private ones to kill, pause and restart.
//
// It requires redis-server on PATH and fails without it, because a skipped test proves nothing. The
// environment variable REDISTEST_SERVER names another program, such as a newer Redis or a Valkey.
//
//	func TestMain(m *testing.M) {
//		os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
//	}
package redistest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/server"
)

// Server is a redis-server process for tests.
type Server struct {
	s      *server.Server
	tls    *tls.Config // nil: no TLS
	socket string      // "" or its unix socket
	shared bool        // no test pauses it
}

// Process is a server's process, for harnesses without a testing.TB: Kill, Restart, Pause, Resume, Stop.
type Process = server.Server

// Option configures a server.
type Option func(*config) error

type config struct {
	server.Options
	tls    *tls.Config
	socket string // relative to the server's folder
}

// Args passes arguments to redis-server, such as Args("--appendonly", "yes").
func Args(args ...string) Option {
	return func(c *config) error { c.Args = append(c.Args, args...); return nil }
}

// Env adds environment variables, such as "LD_PRELOAD=clock.so", to those of this process.
func Env(env ...string) Option {
	return func(c *config) error { c.Env = append(c.Env, env...); return nil }
}

// UnixSocket makes the server also listen on a unix socket, see [Server.Socket].
func UnixSocket() Option {
	return func(c *config) error {
		c.socket = "redis.sock"
		c.Args = append(c.Args, "--unixsocket", c.socket, "--unixsocketperm", "700")
		return nil
	}
}

// Start starts a private server, for tests that kill or pause it. It ends with the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := New(context.Background(), opts...)
	return started(t, s, err)
}

// started fails the test on an error, and closes c when the test ends.
func started[C io.Closer](t testing.TB, c C, err error) C {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("redistest: stop a server: %v", err)
		}
	})
	return c
}

// New starts a private server. Close ends it.
func New(ctx context.Context, opts ...Option) (*Server, error) {
	var c config
	for _, opt := range opts {
		if err := opt(&c); err != nil {
			return nil, fmt.Errorf("redistest: %w", err)
		}
	}
	c.Path = os.Getenv("REDISTEST_SERVER")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := server.Start(ctx, c.Options)
	if errors.Is(err, server.ErrNotFound) && c.Path != "" {
		return nil, fmt.Errorf("redistest: REDISTEST_SERVER=%s is no program", c.Path)
	}
	if errors.Is(err, server.ErrNotFound) {
		return nil, errors.New(
			"redistest: redis-server is not on PATH; `make test` installs it, or put Redis 7.0 or newer there",
		)
	}
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	srv := &Server{s: s, tls: c.tls}
	if c.socket != "" {
		srv.socket = filepath.Join(s.Dir(), c.socket)
	}
	return srv, nil
}

// Close kills the server and removes its folder.
func (s *Server) Close() error {
	_ = s.s.Resume() // it may not be running; a paused process can be killed too
	return s.s.Stop()
}

var shared struct {
	sync.Mutex
	s *Server
}

// Shared returns the server that all tests of a package share. The first call starts it, [Main]
// stops it. Tests use their own keys, see [Key].
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.s == nil {
		s, err := New(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		s.shared = true
		shared.s = s
	}
	return shared.s
}

// Main runs the tests of a package, stops the shared server and then runs checks, such as one for
// leaked goroutines. Checks are skipped if tests failed. It returns the exit code.
//
// A check is retried for [Patience]: go-redis' reconnect goroutine sleeps for a second before it
// notices that its client is closed.
func Main(m *testing.M, checks ...func() error) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.s != nil {
		if err := shared.s.s.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		shared.s = nil
	}
	for _, check := range checks {
		if code != 0 {
			break
		}
		if err := eventually(check); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// Key returns a key that no other test uses.
func Key(t testing.TB) string { return strings.ReplaceAll(t.Name(), "/", ":") + ":" + rand.Text()[:8] }

// URL returns the URL to connect to.
func (s *Server) URL() string {
	if s.tls != nil {
		return "rediss://" + s.Addr()
	}
	return s.s.URL()
}

// Addr returns host:port.
func (s *Server) Addr() string { return s.s.Addr() }

// Socket returns the path of the unix socket, see [UnixSocket].
func (s *Server) Socket() string { return s.socket }

// Process returns the server's process, to kill, pause and restart it without a testing.TB.
func (s *Server) Process() *Process { return s.s }

// Options returns options for clients. The caller may change them.
func (s *Server) Options() *redis.Options {
	o := &redis.Options{Addr: s.Addr(), TLSConfig: s.tls.Clone()}
	if s.shared {
		o.DialTimeout, o.ReadTimeout = answerIn, answerIn
	}
	return o
}

// Client returns a client that is closed when the test ends.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	return closed(t, redis.NewClient(s.Options()))
}

// closed closes a client when the test ends.
func closed[C io.Closer](t testing.TB, rdb C) C {
	t.Cleanup(func() { _ = rdb.Close() }) // the test may have closed it
	return rdb
}

// FlushAll empties the server. Do not use it on the shared server, where other tests may run.
func (s *Server) FlushAll(t testing.TB) {
	t.Helper()
	if err := s.Client(t).FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the server like a crash.
func (s *Server) Kill(t testing.TB) { t.Helper(); check(t, s.s.Kill()) }

// Restart kills the server if it runs, and starts it again on the same port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	check(t, s.s.Restart(ctx))
}

// Pause suspends the server's process: connections stay open, replies do not arrive.
func (s *Server) Pause(t testing.TB) { t.Helper(); check(t, s.s.Pause()) }

// Resume continues a paused server.
func (s *Server) Resume(t testing.TB) { t.Helper(); check(t, s.s.Resume()) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(check func() error) error {
	err := check()
	for deadline := time.Now().Add(Patience); err != nil && time.Now().Before(deadline); err = check() {
		time.Sleep(100 * time.Millisecond)
	}
	return err
}
