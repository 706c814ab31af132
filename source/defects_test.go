package source_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/reader"
)

// line is a network between a client and Redis that breaks on demand and counts traffic.
type line struct {
	addr  string
	read  atomic.Int64 // bytes that came from the server
	dials atomic.Int64

	mu    sync.Mutex
	match []byte // a request that contains it breaks the connection …
	lose  bool   // … behind the server's answer, which is lost; else before the request is sent
	cuts  int    // how many times more
	made  int
}

func newLine(s *stand) *line { return &line{addr: s.Addr()} }

// client returns a client over the line, with go-redis' own settings.
func (l *line) client(t testing.TB) *redis.Client {
	rdb := redis.NewClient(
		&redis.Options{Addr: l.addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			l.dials.Add(1)
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &lineConn{Conn: c, line: l}, nil
		}},
	)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// cut breaks the connections of the next n requests for a command, before they are sent.
func (l *line) cut(command string, n int) { l.set(command, n, false) }

// loseReplies breaks them after the server has acted, so only its reply is lost.
func (l *line) loseReplies(command string, n int) { l.set(command, n, true) }

func (l *line) set(command string, n int, lose bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.match, l.cuts, l.lose = []byte("\r\n"+command+"\r\n"), n, lose
}

// broken returns how often it broke.
func (l *line) broken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made
}

func (l *line) hit(req []byte) (hit, lose bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cuts == 0 || !bytes.Contains(req, l.match) {
		return false, false
	}
	l.cuts--
	l.made++
	return true, l.lose
}

type lineConn struct {
	net.Conn
	line *line
	mute atomic.Bool
}

func (c *lineConn) Write(b []byte) (int, error) {
	if hit, lose := c.line.hit(b); hit {
		if !lose {
			_ = c.Close()
			return 0, io.ErrClosedPipe
		}
		c.mute.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *lineConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.line.read.Add(int64(n))
	if c.mute.Load() { // the server executed it, the client gets no reply
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// calls returns how often the server was asked for a command and has finished it.
func (s *stand) calls(t testing.TB, command string) int {
	t.Helper()
	for l := range strings.Lines(s.rdb.Info(context.Background(), "commandstats").Val()) {
		if rest, ok := strings.CutPrefix(l, "cmdstat_"+command+":calls="); ok {
			number, _, _ := strings.Cut(rest, ",")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// signsOfLife is how many reads a reader without credits may have sent since then, which show that it lives.
func signsOfLife(since time.Time) int { return int(time.Since(since)/(reader.AliveFor/3)) + 1 }

// takenBy lets another consumer read n entries and ignore them, like a dead one.
func (s *stand) takenBy(t testing.TB, consumer string, n int) (ids []string) {
	t.Helper()
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil &&
		!redis.HasErrorPrefix(err, "BUSYGROUP") {
		t.Fatal(err)
	}
	got, err := s.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: consumer,
		Streams: []string{s.key, ">"}, Count: int64(n)}).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// until waits for c, as a handler should, until its context is done.
func until(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sorted returns numbers as text in their order.
func sorted(values []string) []string {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
	return values
}
