package contract

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// line is a network on which a server's reply can be lost.
type line struct {
	mu    sync.Mutex
	match []byte
	lost  int
}

// line returns a client with the settings of the check's, over a line.
func (c *check) line() (*line, *redis.Client) {
	plain, ok := c.rdb.(*redis.Client)
	if !ok {
		c.lacks("a connection to break: the client is none of a single server")
	}
	l, o := new(line), *plain.Options()
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &lineConn{Conn: conn, line: l}, nil
	}
	rdb := redis.NewClient(&o)
	c.cleanup = append(c.cleanup, func() { _ = rdb.Close() })
	return l, rdb
}

// loseReply breaks the connection of the next request with this command after the server has
// answered all of it.
func (l *line) loseReply(command string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.match = []byte("\r\n" + command + "\r\n")
}

// losses returns how many replies were lost.
func (l *line) losses() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

type lineConn struct {
	net.Conn
	line *line
	mute atomic.Bool
}

func (c *lineConn) Write(b []byte) (int, error) {
	l := c.line
	l.mu.Lock()
	if l.match != nil && bytes.Contains(b, l.match) {
		l.match = nil
		l.lost++
		c.mute.Store(true)
	}
	l.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *lineConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.mute.Load() {
		// The request may be several commands, and some servers stop at the first one they cannot answer.
		if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, c.Conn)
		}
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}
