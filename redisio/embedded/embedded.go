// Package embedded provides an in-process Redis: for first runs, examples, and tests in virtual
// time.
//
// # Limits
//
// The in-process server is miniredis. It supports reading in groups, acks, nacks, releases and
// recovery for one process. It does not prove how Redis behaves:
//
//   - it persists nothing: all data is lost when the process ends;
//   - XCLAIM ignores the min-idle time, and JUSTID adds a delivery, so two readers of a group may
//     take an entry from each other where in Redis only one would;
//   - entries trimmed while pending vanish silently, and XACK of them returns 0;
//   - a history read ignores COUNT; trimming with "~" is exact; XINFO's lag is the stream's length;
//   - there is no XGROUP SETID, so admin.Reset can't move a group;
//   - it slows down with many pending entries, and every command wakes every blocked reader.
//
// Only this package imports miniredis, so other programs are not linked with it.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/server"
)

// Server is an in-process server.
type Server struct {
	m        *miniredis.Miniredis
	addr     string
	password string

	stop  chan struct{} // ends the clock; nil without one
	clock sync.WaitGroup
	once  sync.Once
}

// expireEvery is the interval at which keys expire.
const expireEvery = 50 * time.Millisecond

// Start starts a server that listens on a free port of the loopback interface. Its password is
// random, so other users of the machine cannot use it. URL and Client contain the password.
func Start() (*Server, error) {
	m := miniredis.NewMiniRedis()
	password := rand.Text()
	m.RequireAuth(password)
	if err := m.Start(); err != nil {
		return nil, fmt.Errorf("embedded: start: %w", err)
	}
	s := &Server{m: m, addr: m.Addr(), password: password, stop: make(chan struct{})}
	s.clock.Go(s.expire)
	return s, nil
}

// expire makes keys expire as time passes, which miniredis does only when it is told.
func (s *Server) expire() {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-s.stop:
			return
		case now := <-tick.C:
			s.m.FastForward(now.Sub(last))
			last = now
		}
	}
}

// Pipe starts a server without a port, with in-memory connections. So it works in a
// testing/synctest bubble, where the server's clock is the bubble's; sockets would not work there.
// Its keys do not expire.
func Pipe() *Server { return &Server{m: miniredis.NewMiniRedis()} }

// URL returns the URL to connect to, with the password; "" for a server without a port.
func (s *Server) URL() string {
	if s.addr == "" {
		return ""
	}
	return (&url.URL{Scheme: "redis", User: url.UserPassword("", s.password), Host: s.addr}).String()
}

// patience is how long a client waits for a reply, because this server is always reachable.
const patience = 30 * time.Second

// Client returns a client. The caller closes it.
func (s *Server) Client() *redis.Client {
	o := &redis.Options{Addr: s.addr, Password: s.password, DisableIdentity: true,
		// The server is as slow as this process, and a client that gives up repeats the work.
		ReadTimeout: patience, WriteTimeout: patience,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}}
	if s.addr == "" {
		o.Addr = "embedded:0"
		o.Dialer = func(context.Context, string, string) (net.Conn, error) {
			c, err := s.m.Dial()
			if err != nil {
				return nil, err
			}
			return buffered(c), nil
		}
	}
	return redis.NewClient(o)
}

// Close ends the server and discards its data.
func (s *Server) Close() {
	s.once.Do(func() {
		if s.stop != nil {
			close(s.stop)
		}
	})
	s.clock.Wait()
	s.m.Close()
}

// Open returns a client of the server at url, usually $REDIS_URL. If url is empty, it starts a
// private redis-server if one is on PATH, or else the in-process server. describe names the server
// for people. The returned function closes client and server. Private servers listen on the loopback
// interface only and have a random password.
func Open(ctx context.Context, url string) (rdb redis.UniversalClient, describe string, close func() error, err error) {
	if url != "" {
		rdb, err := redisio.Connect(ctx, url, redisio.ConnectOptions{})
		if err != nil {
			return nil, "", nil, err
		}
		return rdb, "using the Redis of REDIS_URL", rdb.Close, nil
	}
	s, err := server.Start(ctx, server.Options{Password: rand.Text()})
	if err == nil {
		rdb, err := redisio.Connect(ctx, s.URL(), redisio.ConnectOptions{})
		if err != nil {
			return nil, "", nil, errors.Join(err, s.Stop())
		}
		describe = fmt.Sprintf("started a private redis-server, %s (its data is deleted when this program ends; "+
			"set REDIS_URL to use another)", s.URL())
		return rdb, describe, func() error { return errors.Join(rdb.Close(), s.Stop()) }, nil
	}
	if !errors.Is(err, server.ErrNotFound) {
		return nil, "", nil, fmt.Errorf("embedded: %w; set REDIS_URL to a running server", err)
	}
	m, err := Start()
	if err != nil {
		return nil, "", nil, err
	}
	c := m.Client()
	describe = "using a small in-process server, because redis-server is not on PATH " +
		"(its data is deleted when this program ends; set REDIS_URL to use a real one)"
	return c, describe, func() error { err := c.Close(); m.Close(); return err }, nil
}
